//! Container images, as skopeo puts them into layouts and registries.
