//! Plans against all plans, against limits, and against the tables they are about.

mod brute;
mod calibrated;
mod fixture;
mod limits;
mod tables;
