//! The `kfconform` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    kfconform::cli::main()
}
