//! Runs the suite's workloads as the containers of the reference's pods.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;

use super::Runner;
use super::kube::{ContainerStart, ImageError, Program, Running, Runtime};
use crate::{
    clock::Clock,
    workload::{self, Context, Stop},
};

/// The images that exist in the reference: the suite's own, by whatever registry and tag.
const IMAGE: &str = "kfconform";

/// An address at which nothing listens.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Runs [`workload::run`] in-process.
pub(super) struct Workloads {
    /// The time that workloads see.
    pub(super) clock: Clock,
    /// The images that components add, by repository.
    pub(super) offered: Mutex<HashMap<String, Program>>,
    /// What the suite's image does as a launch's runner.
    pub(super) runner: Option<Runner>,
}

impl Runtime for Workloads {
    fn start(&self, container: ContainerStart) -> Result<Running, ImageError> {
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = offered.get(repository(&container.image)) {
            return Ok(program(container));
        }
        drop(offered);
        let name = container.image.rsplit('/').next().unwrap_or_default();
        let name = name.split([':', '@']).next().unwrap_or_default();
        if name != IMAGE {
            return Err(ImageError {
                image: container.image.clone(),
                cause: "not found".to_owned(),
            });
        }
        let mut argv = container.command.clone();
        if argv.is_empty() {
            argv.push(workload::ENTRYPOINT.to_owned());
        }
        argv.extend(container.args.iter().cloned());

        let runner = self.runner.clone().filter(|_| {
            let program = argv.first().map(|path| path.rsplit('/').next());
            program == Some(Some(IMAGE)) && argv.get(1).is_some_and(|word| word == "runner")
        });
        Ok(in_context(
            container,
            self.clock,
            |context, _| match runner {
                Some(runner) => runner(Context {
                    arguments: argv[2..].to_vec(),
                    ..context
                }),
                None => workload::run(argv, context).boxed(),
            },
        ))
    }

    fn offer(&self, repository: &str, program: Program) {
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        offered.insert(repository.to_owned(), program);
    }

    fn forget(&self) {
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        offered.clear();
    }
}

/// Runs a program as a container, which sees the cluster as the suite's workloads do.
pub(super) fn in_context<R>(
    container: ContainerStart,
    clock: Clock,
    run: impl FnOnce(Context, ContainerStart) -> R,
) -> Running
where
    R: Future<Output = i32> + Send + 'static,
{
    let (stopper, stop) = Stop::new();
    let ordered = container.stop.clone();
    let mut env: std::collections::BTreeMap<String, String> =
        container.env.iter().cloned().collect();
    env.entry("HOSTNAME".to_owned())
        .or_insert_with(|| container.pod.clone());
    let network = container.network.clone();
    let resolver = container.network.clone();
    let (out, err) = (container.log.clone(), container.log.clone());
    let files = container.clone();
    let context = Context {
        env,
        listen: Arc::new(move |port| {
            let network = network.clone();
            async move { network.listen(port).await }.boxed()
        }),
        resolve: Arc::new(move |address| {
            let known = address
                .rsplit_once(':')
                .and_then(|(host, port)| resolver.resolve(host, port.parse().ok()?));
            // There is no other network: a name that is not known is refused, and never asked of the system.
            Some(known.unwrap_or(NOWHERE))
        }),
        map_path: Arc::new(move |path| real_path(&files, path)),
        out: Arc::new(move |line| out.line(line)),
        err: Arc::new(move |line| err.line(line)),
        stop,
        clock,
        arguments: Vec::new(),
    };
    let running = run(context, container);
    async move {
        tokio::pin!(running);
        tokio::select! {
            code = &mut running => code,
            () = ordered.stopped() => {
                stopper.stop();
                running.await
            }
        }
    }
    .boxed()
}

/// An image without its tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    }
}

/// Where a container's path really is: in a mounted volume, else below a path at which nothing can be made.
fn real_path(container: &ContainerStart, path: &Path) -> PathBuf {
    path.to_str()
        .and_then(|path| container.path(path))
        .unwrap_or_else(|| {
            PathBuf::from("/dev/null/container").join(path.strip_prefix("/").unwrap_or(path))
        })
}
