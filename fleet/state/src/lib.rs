//! Nodes, lookups, catalogs, graphs, tasks: the only place that writes SQL.
