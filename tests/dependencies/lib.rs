//! Nothing, but for what it depends on. Cargo builds a dependency once for each set of features
//! that is asked of it, and that set is the union over the packages in a build: with this one in
//! it, which is in every `--workspace`, checks, tests and documentation share their dependencies,
//! with the features of this workspace or without.
