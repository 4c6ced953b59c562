//! Init and agent: the static program that turns a netbooted kernel into a commanded node.
