//! Packs the suite's image; see `pack.rs`.

mod pack;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Parser;

/// Pack locally built programs into the suite's image, as an OCI archive, without any registry
#[derive(Debug, Parser)]
#[command(name = "pack-image", max_term_width = 110)]
struct Args {
    /// The programs of an architecture; may be given again for others
    #[arg(long, required = true, value_name = "ARCHITECTURE=PROGRAM,BUSYBOX")]
    platform: Vec<pack::Platform>,
    /// The image's name with registry and tag
    #[arg(long, value_name = "NAME", default_value = concat!("docker.io/kubeflow/kfconform:", env!("CARGO_PKG_VERSION")))]
    name: String,
    /// The commit that the programs were built from
    #[arg(long, value_name = "COMMIT")]
    revision: Option<String>,
    /// When they were built, in seconds since 1970
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SOURCE_DATE_EPOCH",
        default_value_t = 0
    )]
    created: i64,
    /// The lock file that they were built with
    #[arg(long, value_name = "FILE", default_value = "Cargo.lock")]
    lock: PathBuf,
    /// The archive to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Writes the bill of materials beside it too
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut err = anstream::stderr();
    match run(&args) {
        Ok(size) => {
            drop(writeln!(
                err,
                "{}: {} KiB as {}",
                args.out.display(),
                size >> 10,
                args.name
            ));
            ExitCode::SUCCESS
        }
        Err(error) => {
            drop(writeln!(err, "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<usize> {
    let image = pack::Image {
        name: args.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: args.revision.clone(),
        created: args.created,
        platforms: args.platform.clone(),
        lock: std::fs::read_to_string(&args.lock)?,
        licence: include_str!("../LICENSE").to_owned(),
    };
    let bytes = pack::pack(&image)?;
    if let Some(path) = &args.sbom {
        std::fs::write(path, serde_json::to_vec_pretty(&pack::bill(&image))?)?;
    }
    std::fs::write(&args.out, &bytes)?;
    Ok(bytes.len())
}
