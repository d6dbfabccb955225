//! The tests that need the whole repository or a whole cluster. Nothing here is linked by others.
