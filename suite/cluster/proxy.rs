//! Proxies, as the environment names them.

use std::net::IpAddr;

use crate::percent::unescape;

/// The environment's proxies, by the variables that curl and Go know, in capitals or small letters.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    http: Option<String>,
    https: Option<String>,
    none: String,
}

impl Proxies {
    /// What the environment says now.
    pub(super) fn of_environment() -> Self {
        let value = |name: &str| {
            let small = name.to_lowercase();
            let value = std::env::var(name).or_else(|_| std::env::var(small));
            value.ok().filter(|value| !value.is_empty())
        };
        let all = value("ALL_PROXY");
        Self {
            http: value("HTTP_PROXY").or_else(|| all.clone()),
            https: value("HTTPS_PROXY").or(all),
            none: value("NO_PROXY").unwrap_or_default(),
        }
    }

    /// The proxy that leads to this address, if one does. To Services and to what is tunnelled none does: the one is in the
    /// cluster, and the other begins on this machine.
    pub(super) fn of(&self, url: &reqwest::Url) -> Option<&str> {
        let host = url.host_str().unwrap_or_default();
        let proxy = match url.scheme() {
            "https" => self.https.as_deref(),
            _ => self.http.as_deref(),
        };
        proxy.filter(|_| !self.spare(host) && host.rsplit('.').next() != Some("svc"))
    }

    /// Whether a host is reached directly all the same.
    pub(super) fn spare(&self, host: &str) -> bool {
        without_proxy(host, &self.none)
    }

    /// What must not be written down of them.
    pub(super) fn passwords(&self) -> Vec<String> {
        let urls = [&self.http, &self.https].into_iter().flatten();
        let urls = urls.filter_map(|url| url.parse().ok());
        urls.flat_map(|url| password(&url)).collect()
    }
}

/// The user and the password of an address, each as it may appear somewhere.
pub(super) fn password(url: &http::Uri) -> Vec<String> {
    let user = url
        .authority()
        .and_then(|authority| authority.as_str().rsplit_once('@'));
    let Some((user, _)) = user else {
        return Vec::new();
    };
    let password = user.split_once(':').map_or(user, |(_, password)| password);
    vec![user.to_owned(), password.to_owned(), unescape(password)]
}

/// Whether a host is reached directly although there is a proxy: on this machine, or named in `NO_PROXY` (hosts, domains
/// and networks, separated by commas).
fn without_proxy(host: &str, no_proxy: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>().ok();
    if host == "localhost" || address.is_some_and(|a| a.is_loopback()) {
        return true;
    }
    let bits = |address: IpAddr| match address {
        IpAddr::V4(a) => (u128::from(a.to_bits()) << 96, 32),
        IpAddr::V6(a) => (a.to_bits(), 128),
    };
    no_proxy.split(',').map(str::trim).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some((network, prefix)), Some(address)) = (entry.split_once('/'), address) {
            let (Ok(network), Ok(prefix)) = (network.parse::<IpAddr>(), prefix.parse::<u32>())
            else {
                return false;
            };
            let ((network, length), (address, same)) = (bits(network), bits(address));
            return length == same
                && prefix <= length
                && (prefix == 0 || (network ^ address) >> (128 - prefix) == 0);
        }
        let name = entry.trim_start_matches('*').trim_start_matches('.');
        !name.is_empty() && (host == name || host.ends_with(&format!(".{name}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_about_the_server() {
        for (host, list) in [
            ("127.0.0.1", ""),
            ("[::1]", ""),
            ("localhost", ""),
            ("10.1.2.3", "a,10.0.0.0/8"),
            ("[fd00::1]", "fd00::/8"),
            ("10.1.2.3", "10.1.2.3"),
            ("kube.example.org", "example.org"),
            ("kube.example.org", " .example.org"),
            ("kube.example.org", "*.example.org"),
            ("kube.example.org", "*"),
        ] {
            assert!(without_proxy(host, list), "{host} {list}");
        }
        for (host, list) in [
            ("10.1.2.3", ""),
            ("10.1.2.3", "11.0.0.0/8,fd00::/8,10.0.0.0/33,x/8"),
            ("kube.example.org", "ample.org,,org.example,*.other"),
        ] {
            assert!(!without_proxy(host, list), "{host} {list}");
        }
    }

    #[test]
    fn a_proxy_leads_out_of_the_cluster_alone() {
        let proxies = Proxies {
            http: Some("http://u:p%40ss@one:3128".to_owned()),
            https: Some("http://two:3128".to_owned()),
            none: "spared.example".to_owned(),
        };
        for (url, proxy) in [
            ("https://kfp.example/pipeline", Some("http://two:3128")),
            ("http://kfp.example", Some("http://u:p%40ss@one:3128")),
            ("https://kfp.spared.example", None),
            ("http://127.0.0.1:4000/apis", None),
            ("http://ml-pipeline.kubeflow.svc:8888", None),
        ] {
            assert_eq!(proxies.of(&url.parse().unwrap()), proxy, "{url}");
        }
        assert_eq!(proxies.passwords(), ["u:p%40ss", "p%40ss", "p@ss"]);
        assert_eq!(
            Proxies::default().of(&"http://kfp.example".parse().unwrap()),
            None
        );
    }
}
