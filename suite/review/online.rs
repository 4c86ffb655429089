//! What the product's pages say, for whoever asks for it: advice, and no part of a verdict.
//!
//! This is the only part of a review that asks the network anything, and it is called for `--online` alone; everything
//! else runs where there is no network to ask (see [`review_all`](super::review_all)).
//!
//! The addresses come from a stranger, and a reviewer's machine often stands where strangers cannot reach. So a page is
//! asked for by https at its usual port alone, at a host that has a name, all of whose addresses are public ones; the
//! connection goes to those very addresses, whatever the name stands for a moment later; and each redirection is
//! held to the same. What comes back is read to a bound, in a bounded time, and never shown.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use reqwest::Url;
use serde::Serialize;

use super::Review;
use crate::report::text::one_line;
use crate::seal::Product;

/// How long a page may take, with all its redirections.
const WITHIN: Duration = Duration::from_secs(10);
/// How many redirections are followed.
const MAX_REDIRECTIONS: usize = 5;
/// How much of a page is read, in bytes. A list of adopters is a tenth of it.
const MAX_PAGE: usize = 2 << 20;
/// How many pages are asked for at once.
const AT_ONCE: usize = 8;

/// What was seen of one field of `product.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Advice {
    /// The field.
    pub about: &'static str,
    /// What it says.
    pub address: String,
    /// Whether that is as one would expect.
    pub fine: bool,
    /// What was seen, in a sentence.
    pub message: String,
}

/// Looks at the pages of every product that could be read, and leaves what was seen in its review.
pub async fn advise(reviews: &mut [Review]) {
    Web::public().advise(reviews).await;
}

type Resolved = BoxFuture<'static, std::io::Result<Vec<SocketAddr>>>;

/// The way to pages.
struct Web {
    /// The addresses of a host.
    resolve: Box<dyn Fn(String) -> Resolved + Send + Sync>,
    /// Whether an address may be connected to.
    may_reach: fn(IpAddr) -> bool,
    /// The scheme on the wire: `https`, but where a test's own server has no certificate.
    scheme: &'static str,
    within: Duration,
}

/// A page as far as it was read.
struct Page {
    status: u16,
    html: bool,
    text: String,
    whole: bool,
    /// Where it was found after all redirections.
    host: String,
}

impl Web {
    fn public() -> Self {
        Self {
            resolve: Box::new(|host| {
                async move {
                    let addresses = tokio::net::lookup_host((host, 443)).await?;
                    Ok(addresses.collect())
                }
                .boxed()
            }),
            may_reach: is_public,
            scheme: "https",
            within: WITHIN,
        }
    }

    async fn advise(&self, reviews: &mut [Review]) {
        let products = || reviews.iter().filter_map(|review| review.product.as_ref());
        // Many submissions share a page.
        let mut addresses: Vec<&str> = products().flat_map(pages).map(|(_, page)| page).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let asked = addresses.iter().map(|address| async move {
            ((*address).to_owned(), Arc::new(self.page(address).await))
        });
        let seen: BTreeMap<String, _> = futures::stream::iter(asked)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for review in reviews {
            let Some(product) = &review.product else {
                continue;
            };
            let mut advice: Vec<Advice> = pages(product)
                .map(|(about, address)| {
                    let (fine, message) = judge(about, product, &seen[address]);
                    Advice {
                        about,
                        address: one_line(address).into_owned(),
                        fine,
                        message: one_line(&message).into_owned(),
                    }
                })
                .collect();
            advice.push(contact(product));
            review.online = Some(advice);
        }
    }

    /// A page, or why there is none.
    async fn page(&self, address: &str) -> Result<Page, String> {
        tokio::time::timeout(self.within, self.follow(address))
            .await
            .unwrap_or_else(|_| {
                Err(format!(
                    "there was no answer within {} s",
                    self.within.as_secs()
                ))
            })
    }

    async fn follow(&self, address: &str) -> Result<Page, String> {
        let mut url = Url::parse(address).map_err(|_| "it is no address".to_owned())?;
        for _ in 0..=MAX_REDIRECTIONS {
            let mut response = self.ask(&url).await?;
            let status = response.status();
            let to = response.headers().get(reqwest::header::LOCATION);
            if let Some(to) = to.filter(|_| status.is_redirection()) {
                let to = to.to_str().ok().and_then(|to| url.join(to).ok());
                url = to.ok_or("it leads to what is no address")?;
                continue;
            }
            let html = response
                .headers()
                .get(reqwest::header::CONTENT_TYPE)
                .and_then(|kind| kind.to_str().ok())
                .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/"));
            let mut body = Vec::new();
            let mut whole = true;
            while let Some(chunk) = response.chunk().await.map_err(|e| why(&e))? {
                let room = MAX_PAGE - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    whole = false;
                    break;
                }
            }
            return Ok(Page {
                status: status.as_u16(),
                html,
                text: String::from_utf8_lossy(&body).into_owned(),
                whole,
                host: url.host_str().unwrap_or_default().to_owned(),
            });
        }
        Err(format!(
            "it was redirected more than {MAX_REDIRECTIONS} times"
        ))
    }

    /// Asks for one address, after making sure where that leads.
    async fn ask(&self, url: &Url) -> Result<reqwest::Response, String> {
        let shown = url.host_str().unwrap_or_default();
        let Some(host) = url.domain().filter(|_| url.scheme() == "https") else {
            return Err(format!(
                "`{}://{shown}` is no https address of a named host",
                url.scheme()
            ));
        };
        if url.port().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(format!("`{shown}` is given with a port or a user"));
        }
        let addresses = (self.resolve)(host.to_owned()).await;
        let addresses = addresses.map_err(|_| format!("no address of `{host}` was found"))?;
        if addresses.is_empty()
            || !addresses
                .iter()
                .all(|address| (self.may_reach)(address.ip()))
        {
            return Err(format!(
                "`{host}` is not on the public network, and was not asked"
            ));
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("kfconform/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would look the name up again.
            .no_proxy()
            .resolve_to_addrs(host, &addresses)
            .build()
            .map_err(|e| why(&e))?;
        let mut wire = url.clone();
        // From https to https nothing changes.
        wire.set_scheme(self.scheme)
            .map_err(|()| "it is no address".to_owned())?;
        client.get(wire).send().await.map_err(|e| why(&e))
    }
}

/// An error without the address, which stands beside it.
fn why(error: &reqwest::Error) -> String {
    use std::error::Error;
    let mut last: &dyn Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    format!("it cannot be reached: {last}")
}

/// The pages of a product, by field.
fn pages(product: &Product) -> impl Iterator<Item = (&'static str, &str)> {
    let repository = product.repository.as_deref();
    let always = [
        ("website", product.website.as_str()),
        ("documentation", product.documentation.as_str()),
    ];
    always
        .into_iter()
        .chain(repository.map(|address| ("repository", address)))
        .chain([("adopters", product.adopters.as_str())])
}

/// What to think of a page.
fn judge(about: &str, product: &Product, page: &Result<Page, String>) -> (bool, String) {
    let page = match page {
        Ok(page) => page,
        Err(why) => return (false, why.clone()),
    };
    if page.status != 200 {
        return (false, format!("it answers with status {}", page.status));
    }
    if !page.html {
        return (false, "it is no page of text".to_owned());
    }
    if about != "adopters" {
        return (true, format!("it answers, from `{}`", page.host));
    }
    let named = [&product.name, &product.vendor]
        .into_iter()
        .find(|name| words(&page.text).contains(&words(name)));
    match named {
        Some(name) => (true, format!("it names `{name}`")),
        None if page.whole => (
            false,
            "it names neither the product nor its vendor".to_owned(),
        ),
        None => (
            false,
            format!(
                "its first {} MiB name neither the product nor its vendor",
                MAX_PAGE >> 20
            ),
        ),
    }
}

/// Text as it is compared: in lower case, with single blanks.
fn words(text: &str) -> String {
    let text = text.to_lowercase().replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the contact is at the product's own host. Nothing is asked for that.
fn contact(product: &Product) -> Advice {
    let at = product.contact.rsplit('@').next().unwrap_or_default();
    let at = at.to_lowercase();
    let hosts: Vec<String> = pages(product)
        .filter_map(|(_, address)| Url::parse(address).ok()?.host_str().map(str::to_owned))
        .collect();
    let below = |host: &str, of: &str| host == of || host.ends_with(&format!(".{of}"));
    let same = hosts
        .iter()
        .find(|host| below(host, &at) || below(&at, host));
    Advice {
        about: "contact",
        address: one_line(&product.contact).into_owned(),
        fine: same.is_some(),
        message: match same {
            Some(host) => format!("it is at the host of `{host}`"),
            None => "it is at none of the hosts of the product's pages".to_owned(),
        },
    }
}

/// Whether an address is one of the public Internet: none of a private network, of this machine, of its links, nor one
/// that stands for such an address (IANA's registries of special-purpose addresses, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || matches!(
            (a, b, c),
            // This network; multicast, reserved and broadcast.
            (0 | 224.., ..)
                // Shared by a provider's customers.
                | (100, 64..=127, _)
                // Protocol assignments, and relays to IPv6.
                | (192, 0, 0) | (192, 88, 99)
                // Benchmarks.
                | (198, 18..=19, _)
        );
    // A public address that stands for the host of a virtual machine on Azure, whose CI runners many use.
    !special && address != Ipv4Addr::new(168, 63, 129, 16)
}

/// Only what is handed out as global unicast (2000::/3), without its special parts. Forms that hold an IPv4 address
/// (mapped, translated, 6to4, Teredo) lie outside of it or are among those parts.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Protocol assignments (Teredo among them) and documentation; 6to4; documentation.
    let special = match a {
        0x2001 => b < 0x0200 || b == 0x0db8,
        0x2002 => true,
        0x3fff => b < 0x1000,
        _ => false,
    };
    a & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::Verdict;
    use crate::seal::product::tests::FINE;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// What a server says to a path: the whole answer.
    type Answers = fn(&str) -> String;

    fn ok(body: &str) -> String {
        answer("200 OK", "content-type: text/html; charset=utf-8", body)
    }

    fn answer(status: &str, header: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\n{header}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn to(address: &str) -> String {
        answer("302 Found", &format!("location: {address}"), "")
    }

    /// A server, and the way to it by every name that begins with `kubeflow` or `github`. What was asked is kept.
    async fn web(answers: Answers) -> (Web, Arc<Mutex<Vec<String>>>) {
        crate::install_crypto();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    let head = String::from_utf8(head).unwrap();
                    let path = head.split(' ').nth(1).unwrap().to_owned();
                    seen.lock().unwrap().push(head);
                    let answer = answers(&path);
                    if answer.is_empty() {
                        // It never answers.
                        std::future::pending::<()>().await;
                    }
                    drop(stream.write_all(answer.as_bytes()).await);
                });
            }
        });
        let web = Web {
            resolve: Box::new(move |host| {
                async move {
                    match host.split('.').next().unwrap() {
                        "kubeflow" | "github" => Ok(vec![at]),
                        // A name for an address of this machine, as anybody may give it one.
                        "inside" => Ok(vec!["10.0.0.7:443".parse().unwrap()]),
                        // One good address does not make up for a bad one.
                        "both" => Ok(vec![at, "169.254.169.254:443".parse().unwrap()]),
                        _ => Err(std::io::ErrorKind::NotFound.into()),
                    }
                }
                .boxed()
            }),
            may_reach: |address| address.is_loopback() || is_public(address),
            scheme: "http",
            within: Duration::from_secs(2),
        };
        (web, asked)
    }

    fn reviewed() -> Review {
        Review {
            folder: "x".to_owned(),
            verdict: Verdict::Accepted,
            product: Some(Product::parse(FINE.as_bytes(), "p").unwrap()),
            ..Review::of("x")
        }
    }

    async fn seen(answers: Answers) -> (Vec<(bool, String)>, Vec<String>) {
        let (web, asked) = web(answers).await;
        let mut reviews = vec![reviewed(), reviewed(), Review::of("unreadable")];
        web.advise(&mut reviews).await;
        assert_eq!(reviews[0].online, reviews[1].online);
        assert_eq!(reviews[2].online, None);
        // It is advice: a verdict stays what it is.
        assert_eq!(reviews[0].verdict, Verdict::Accepted);
        let advice = reviews.swap_remove(0).online.unwrap();
        let about: Vec<_> = advice.iter().map(|a| a.about).collect();
        assert_eq!(about, ["website", "documentation", "adopters", "contact"]);
        let asked = asked.lock().unwrap().clone();
        (
            advice.into_iter().map(|a| (a.fine, a.message)).collect(),
            asked,
        )
    }

    #[tokio::test]
    async fn pages_that_answer_are_fine_and_each_is_asked_for_once() {
        let (advice, asked) = seen(|path| match path {
            "/aurora" => to("https://www.kubeflow.org/aurora/"),
            "/kubeflow/community/blob/master/ADOPTERS.md" => {
                ok("<td>NORTHERN  lights\nComputing</td>")
            }
            _ => ok("<p>hello</p>"),
        })
        .await;
        assert_eq!(
            advice,
            [
                (
                    false,
                    "no address of `www.kubeflow.org` was found".to_owned()
                ),
                (true, "it answers, from `kubeflow.org`".to_owned()),
                (true, "it names `Northern Lights Computing`".to_owned()),
                (true, "it is at the host of `kubeflow.org`".to_owned()),
            ]
        );
        assert_eq!(asked.len(), 3, "{asked:?}");
        for head in asked {
            let head = head.to_lowercase();
            assert!(
                head.contains("user-agent: kfconform/") && !head.contains("cookie"),
                "{head}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_page_is_said() {
        let (advice, _) = seen(|path| match path {
            "/aurora" => answer("404 Not Found", "content-type: text/html", "x"),
            "/aurora/docs" => answer("200 OK", "content-type: application/zip", "x"),
            _ => ok("nobody"),
        })
        .await;
        let messages: Vec<_> = advice
            .iter()
            .map(|(fine, message)| (*fine, message.as_str()))
            .collect();
        assert_eq!(
            messages[..3],
            [
                (false, "it answers with status 404"),
                (false, "it is no page of text"),
                (false, "it names neither the product nor its vendor"),
            ]
        );
    }

    #[tokio::test]
    async fn a_page_has_bounds() {
        let (web, asked) = web(|path| match path {
            "/round" => to("/round"),
            "/silent" => String::new(),
            "/endless" => {
                let more = "x".repeat(MAX_PAGE * 3);
                ok(&more)
            }
            path => match path.trim_start_matches("/down/").parse::<usize>() {
                Ok(0) | Err(_) => ok("there"),
                Ok(n) => to(&format!("/down/{}", n - 1)),
            },
        })
        .await;
        let page = async |path: &str| web.page(&format!("https://kubeflow.org{path}")).await;
        assert_eq!(
            page("/round").await.err().unwrap(),
            "it was redirected more than 5 times"
        );
        assert_eq!(asked.lock().unwrap().len(), 6);
        assert_eq!(page("/down/5").await.unwrap().text, "there");
        assert!(page("/down/6").await.is_err());
        assert_eq!(
            page("/silent").await.err().unwrap(),
            "there was no answer within 2 s"
        );
        let endless = page("/endless").await.unwrap();
        assert_eq!((endless.text.len(), endless.whole), (MAX_PAGE, false));
    }

    #[tokio::test]
    async fn nothing_inside_is_reached_neither_at_once_nor_by_a_redirection() {
        let (web, asked) = web(|path| to(&path[1..])).await;
        for (address, says) in [
            ("https://inside.kubeflow.org/", "not on the public network"),
            ("https://both.kubeflow.org/", "not on the public network"),
            ("https://127.0.0.1/", "no https address of a named host"),
            ("https://[::1]/", "no https address of a named host"),
            ("https://2130706433/", "no https address of a named host"),
            ("https://0x7f.1/", "no https address of a named host"),
            ("http://kubeflow.org/", "no https address of a named host"),
            ("file:///etc/passwd", "no https address of a named host"),
            ("https://kubeflow.org:8443/", "a port or a user"),
            ("https://a:b@kubeflow.org/", "a port or a user"),
            ("https://nowhere.org/", "no address of"),
        ] {
            let said = web.page(address).await.err().unwrap();
            assert!(said.contains(says), "{address}: {said}");
            assert_eq!(asked.lock().unwrap().len(), 0, "{address}");
            let said = web
                .page(&format!("https://kubeflow.org/{address}"))
                .await
                .err()
                .unwrap();
            assert!(said.contains(says), "to {address}: {said}");
            assert_eq!(asked.lock().unwrap().drain(..).count(), 1, "{address}");
        }
    }

    /// The name is looked up once, and the connection goes to what was found: it cannot become another in between.
    #[tokio::test]
    async fn a_name_is_pinned_to_the_addresses_that_were_looked_at() {
        let (mut web, asked) = web(|_| ok("x")).await;
        let found = std::mem::replace(
            &mut web.resolve,
            Box::new(|_| async { Ok(Vec::new()) }.boxed()),
        );
        let times = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&times);
        web.resolve = Box::new(move |host| {
            *counted.lock().unwrap() += 1;
            found(host)
        });
        // The name is of nothing that this machine could look up by itself.
        web.page("https://kubeflow.invalid/").await.unwrap();
        assert_eq!(
            (*times.lock().unwrap(), asked.lock().unwrap().len()),
            (1, 1)
        );
    }

    #[test]
    fn only_addresses_of_the_public_network_are_public() {
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "168.63.129.16",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    /// Without `--online` nothing is asked: nothing else of a review or of what it reads with has a way to the network.
    #[test]
    fn no_other_part_of_a_review_knows_the_network() {
        let suite = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("suite");
        let mut looked_at = 0;
        for folder in ["review", "seal", "report", "spec"] {
            for entry in std::fs::read_dir(suite.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with("review/online.rs") || path.extension().is_none_or(|e| e != "rs")
                {
                    continue;
                }
                looked_at += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                for word in [
                    "reqwest",
                    "hyper::",
                    "kube::",
                    "std::net",
                    "tokio::net",
                    "lookup_host",
                    "TcpStream",
                ] {
                    assert!(!text.contains(word), "{}: {word}", path.display());
                }
            }
        }
        assert!(looked_at > 20);
    }
}
