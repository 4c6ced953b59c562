//! SHA-256 digests as OCI writes them: parsing, formatting, hashing while streaming.
