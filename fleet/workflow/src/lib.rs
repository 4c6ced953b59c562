//! Graph semantics (pure), the scheduler and the jobs.
