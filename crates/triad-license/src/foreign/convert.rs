//! License files.
