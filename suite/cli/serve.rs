//! `reference`: serves the embedded distribution.

use std::io::Write;

use super::{Done, Failure, args::ReferenceArgs, exit_code, print, signals::Signals};
use crate::{
    clock::Clock,
    reference::{Reference, ReferenceOptions},
    selftest,
    spec::Distribution,
};

pub(super) async fn reference(args: ReferenceArgs) -> Done {
    for fault in &args.fault {
        if let Some(unknown) = selftest::unknown_fault(fault) {
            return Err(Failure::usage(unknown));
        }
    }
    if !args.listen.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "`--listen {}` is not on this machine; the reference has no TLS and serves loopback only",
            args.listen
        )));
    }
    let layout = args.layout.as_deref().map(Distribution::find).transpose();
    let layout = layout.map_err(Failure::usage)?;
    let reference = Reference::start(ReferenceOptions {
        clock: Clock::wall(),
        faults: args.fault,
        listen: args.listen,
        runner: Some(crate::launch::runner::program()),
        layout,
        ..ReferenceOptions::default()
    })
    .await
    .map_err(|e| {
        Failure::incomplete(format!(
            "the reference cannot listen on {}: {e}",
            args.listen
        ))
    })?;
    let kubeconfig = reference.kubeconfig();
    if let Some(path) = &args.kubeconfig {
        std::fs::write(path, &kubeconfig)
            .map_err(|e| Failure::usage(format!("cannot write {}: {e}", path.display())))?;
    }
    print(&kubeconfig)?;
    drop(writeln!(
        anstream::stderr(),
        "serving the reference distribution at {}; Ctrl-C ends it",
        reference.world.url()
    ));
    Signals::new().next().await;
    Ok(exit_code::OK)
}
