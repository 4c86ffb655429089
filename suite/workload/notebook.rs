//! A notebook server by the image contract of Kubeflow: HTTP on 8888 under `NB_PREFIX`, the home directory as the only
//! place that lasts (<https://www.kubeflow.org/docs/components/notebooks/container-images/>).

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Context;
use super::http::{Request, Response, error, json, raw, serve};

/// Serve as a notebook does: a page under `NB_PREFIX`, files in the home directory
#[derive(Args, Clone, Debug)]
pub struct Notebook {
    /// The port
    #[arg(long, default_value_t = 8888)]
    pub port: u16,
    /// The directory of `/files/NAME`
    #[arg(long, default_value = "/home/jovyan")]
    pub home: PathBuf,
    /// A variable of the environment that `?env=NAME` may show
    #[arg(long = "show-env", value_name = "NAME")]
    pub show_env: Vec<String>,
    /// What its one kernel does: a cluster that stops idle notebooks leaves a busy one alone
    #[arg(long, default_value = "busy")]
    pub kernel: Kernel,
    /// When the kernel last did something, by RFC 3339; now unless it is given
    #[arg(long, value_name = "TIME")]
    pub last_activity: Option<String>,
}

/// What a kernel does.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum Kernel {
    /// It is at work.
    Busy,
    /// It waits for its user.
    Idle,
}

impl Notebook {
    pub(super) async fn run(self, cx: Context) -> i32 {
        let listener = match (cx.listen)(self.port).await {
            Ok(listener) => listener,
            Err(error) => {
                cx.log(&format!("port {} cannot be opened: {error}", self.port));
                return 1;
            }
        };
        cx.log(&format!("a notebook listens on port {}", self.port));
        let stop = cx.stop.clone();
        let server = std::sync::Arc::new(Server { notebook: self, cx });
        // A notebook that is stopped must be gone at once, so that no check waits for it.
        serve(listener, &stop, Duration::ZERO, move |request| {
            let server = server.clone();
            async move { server.answer(&request) }
        })
        .await;
        0
    }
}

struct Server {
    notebook: Notebook,
    cx: Context,
}

impl Server {
    fn answer(&self, request: &Request) -> Response {
        let prefix = self
            .cx
            .var("NB_PREFIX")
            .unwrap_or_default()
            .trim_end_matches('/');
        let path = request
            .path
            .strip_prefix(prefix)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .unwrap_or(&request.path);
        match (path.trim_matches('/'), request.is_get()) {
            ("", true) => self.page(request, prefix),
            ("api/kernels", true) => json(StatusCode::OK, &json!([self.kernel()])),
            ("api/terminals", true) => json(StatusCode::OK, &json!([])),
            (path, get) => match path.strip_prefix("files/") {
                Some(name) if get || request.method == Method::PUT => self.file(request, name),
                Some(_) => error(StatusCode::METHOD_NOT_ALLOWED, "allowed: GET and PUT"),
                None => error(StatusCode::NOT_FOUND, "not found"),
            },
        }
    }

    /// The one kernel, as Jupyter shows it to whoever stops idle notebooks. None really runs here.
    fn kernel(&self) -> Value {
        let now = self.cx.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let last = self.notebook.last_activity.clone();
        json!({
            "id": "00000000-0000-4000-8000-000000000001",
            "name": "python3",
            "last_activity": last.unwrap_or_else(|| now.to_string()),
            "execution_state": match self.notebook.kernel {
                Kernel::Busy => "busy",
                Kernel::Idle => "idle",
            },
            "connections": 0,
        })
    }

    fn page(&self, request: &Request, prefix: &str) -> Response {
        let mut env = Map::new();
        for name in request.query("env") {
            if !self.notebook.show_env.contains(&name) {
                return error(
                    StatusCode::FORBIDDEN,
                    format!("`{name}` is not among --show-env"),
                );
            }
            let value = self
                .cx
                .env
                .get(&name)
                .cloned()
                .map_or(Value::Null, Value::String);
            env.insert(name, value);
        }
        let page = json!({ "notebook": "kfconform", "prefix": prefix, "pod": self.cx.pod_name(), "env": env });
        json(StatusCode::OK, &page)
    }

    fn file(&self, request: &Request, name: &str) -> Response {
        let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
        if name.is_empty() || name.len() > 255 || name.starts_with('.') || !name.chars().all(plain)
        {
            let message = "a file's name is letters, digits and `._-`, and no dot first";
            return error(StatusCode::BAD_REQUEST, message);
        }
        let path = self.cx.path(self.notebook.home.join(name));
        let done = if request.is_get() {
            fs::read(path).map(|content| {
                let binary = HeaderValue::from_static("application/octet-stream");
                raw(StatusCode::OK, binary, content.into())
            })
        } else {
            fs::write(path, &request.body)
                .map(|()| json(StatusCode::CREATED, &json!({ "bytes": request.body.len() })))
        };
        done.unwrap_or_else(|cause| match cause.kind() {
            ErrorKind::NotFound if request.is_get() => error(StatusCode::NOT_FOUND, "no such file"),
            _ => error(StatusCode::INTERNAL_SERVER_ERROR, cause),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Container, request};
    use super::*;

    #[tokio::test]
    async fn answers_under_its_prefix() {
        let container = Container::new()
            .env("NB_PREFIX", "/notebook/ns/nb")
            .env("TOKEN", "secret")
            .env("A", "b");
        let (address, _task) = container
            .start(
                "notebook --show-env A --show-env NB_PREFIX --show-env NONE",
                8888,
            )
            .await;
        for path in [
            "/",
            "/notebook/ns/nb",
            "/notebook/ns/nb/",
            "/notebook/ns/nb?x=1",
        ] {
            let (status, _, page) = request(address, "GET", path, "").await;
            assert_eq!(status, 200, "{path}");
            assert_eq!(
                (&page["prefix"], &page["pod"]),
                (&"/notebook/ns/nb".into(), &"pod-0".into())
            );
        }
        let (_, _, page) = request(address, "GET", "/notebook/ns/nb/?env=A&env=NONE", "").await;
        assert_eq!(page["env"], json!({ "A": "b", "NONE": null }));
        assert_eq!(request(address, "GET", "/?env=TOKEN", "").await.0, 403);
        let (_, _, kernels) = request(address, "GET", "/notebook/ns/nb/api/kernels", "").await;
        assert_eq!(kernels[0]["execution_state"], "busy");
        for path in [
            "/notebook/ns/nbapi/kernels",
            "/notebook/ns/other/",
            "/lab",
            "/notebook/ns/nb/api",
        ] {
            assert_eq!(request(address, "GET", path, "").await.0, 404, "{path}");
        }
    }

    #[tokio::test]
    async fn shows_its_kernel() {
        let container = Container::new();
        let long_ago = "2020-01-01T00:00:00Z";
        let command = format!("notebook --kernel idle --last-activity {long_ago}");
        let (address, _task) = container.start(&command, 8888).await;
        let (_, _, kernels) = request(address, "GET", "/api/kernels", "").await;
        assert_eq!(kernels.as_array().map(Vec::len), Some(1));
        assert_eq!(kernels[0]["execution_state"], "idle");
        assert_eq!(kernels[0]["last_activity"], long_ago);
    }

    #[tokio::test]
    async fn keeps_files_in_its_home() {
        let container = Container::new().env("NB_PREFIX", "/p");
        std::fs::create_dir_all(container.path("/data")).unwrap();
        let (address, _task) = container.start("notebook --home /data", 8888).await;
        assert_eq!(request(address, "GET", "/p/files/a.txt", "").await.0, 404);
        assert_eq!(
            request(address, "PUT", "/p/files/a.txt", "[1]").await.0,
            201
        );
        assert_eq!(container.read("/data/a.txt"), "[1]");
        assert_eq!(
            request(address, "GET", "/files/a.txt", "").await.2,
            json!([1])
        );
        assert_eq!(request(address, "DELETE", "/files/a.txt", "").await.0, 405);
        for name in ["..%2Fa", "%2e%2e/a", ".a", "a/b", ""] {
            let path = format!("/p/files/{name}");
            assert!(
                matches!(request(address, "PUT", &path, "x").await.0, 400 | 404 | 405),
                "{name}"
            );
        }
        assert_eq!(std::fs::read_dir(container.path("/")).unwrap().count(), 1);
        let large = "x".repeat(super::super::http::MAX_BODY + 1);
        assert_eq!(request(address, "PUT", "/p/files/big", &large).await.0, 413);
    }

    #[tokio::test]
    async fn is_gone_at_once_when_stopped() {
        let container = Container::new();
        let (address, task) = container.start("notebook", 8888).await;
        let idle = tokio::net::TcpStream::connect(address).await.unwrap();
        container.stop();
        let code = tokio::time::timeout(Duration::from_secs(1), task).await;
        assert_eq!(code.expect("stops within a second").unwrap(), 0);
        drop(idle);
    }

    #[tokio::test]
    async fn says_that_a_port_is_taken() {
        let container = Container::new();
        let mut cx = container.cx();
        cx.listen = std::sync::Arc::new(|_| Box::pin(async { Err(ErrorKind::AddrInUse.into()) }));
        let argv = ["kfconform", "workload", "notebook"].map(str::to_owned);
        assert_eq!(super::super::run(argv.into(), cx).await, 1);
        assert!(container.lines()[0].contains("port 8888"));
    }
}
