//! `product.yaml`: whose product a submission is about, and how to reach them.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::folder::{self, FolderError};
use crate::report::html::Whose;
use crate::report::text::one_line;
use crate::spec::{Problem, ReleaseName, YamlFile};

/// The name of the file in a submission.
pub const PRODUCT_FILE: &str = "product.yaml";
/// The largest `product.yaml` that is read, in bytes.
pub const MAX_PRODUCT_BYTES: u64 = 64 * 1024;
/// A `product.yaml` to fill in, each field with what belongs there.
pub const TEMPLATE: &str = include_str!("product.template.yaml");

/// The most characters of a name, and of what else fits on a line.
const MAX_LINE: usize = 120;
/// The most characters of the description.
const MAX_DESCRIPTION: usize = 2000;
/// The most characters of an address.
const MAX_ADDRESS: usize = 500;

/// `product.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Product {
    /// `conformance.kubeflow.org/v1`.
    pub api_version: String,
    /// `Product`.
    pub kind: ProductKind,
    /// The legal name of who offers the product.
    pub vendor: String,
    /// The product's own name.
    pub name: String,
    /// The version that was checked: a fixed one, no branch.
    pub version: String,
    /// The product's page.
    pub website: String,
    /// The product's documentation.
    pub documentation: String,
    /// The source code, where it is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// How the product comes to its users.
    #[serde(rename = "type")]
    pub type_: ProductType,
    /// What the product is, in a few sentences.
    pub description: String,
    /// An e-mail address that is read.
    pub contact: String,
    /// The Kubernetes platforms that the product is made for.
    pub kubernetes_targets: Vec<String>,
    /// Where adopters are listed.
    pub adopters: String,
    /// How often there is a release.
    pub release_cadence: String,
    /// The Kubeflow release that the product ships, and that was checked.
    pub kubeflow_release: ReleaseName,
}

/// The kind of `product.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProductKind {
    /// The only one.
    Product,
}

/// How a product comes to its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProductType {
    /// Software that users run on clusters of their own.
    Distribution,
    /// A service that the vendor runs.
    Hosted,
    /// A program that puts Kubeflow on a cluster.
    Installer,
}

/// Why a `product.yaml` is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    /// It cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It is no text.
    #[error("`{0}` is not UTF-8")]
    NotText(String),
    /// These things are wrong in it, each with its line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

impl Product {
    /// Reads a file of at most [`MAX_PRODUCT_BYTES`].
    pub fn read(path: &Path) -> Result<Self, ProductError> {
        let bytes = folder::read_path(path, MAX_PRODUCT_BYTES)?;
        Self::parse(&bytes, &path.display().to_string())
    }

    /// Reads the bytes of a file; `shown` is what errors call it.
    pub fn parse(bytes: &[u8], shown: &str) -> Result<Self, ProductError> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| ProductError::NotText(shown.to_owned()))?;
        let document = YamlFile::new(shown, text);
        let product: Self = document
            .parse()
            .map_err(|problem| ProductError::Invalid(vec![problem]))?;
        let problems: Vec<Problem> = product
            .wrong()
            .into_iter()
            .map(|(field, message)| document.problem(field, message))
            .collect();
        if problems.is_empty() {
            Ok(product)
        } else {
            Err(ProductError::Invalid(problems))
        }
    }

    /// The name as it stands in a path: `reports/RELEASE/SLUG/VERSION`.
    pub fn slug(&self) -> String {
        let mut slug = String::new();
        for c in self.name.to_lowercase().chars() {
            if c.is_ascii_alphanumeric() {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        slug.trim_end_matches('-').to_owned()
    }

    /// What its report says of it.
    pub fn whose(&self) -> Whose<'_> {
        Whose {
            name: &self.name,
            version: &self.version,
            vendor: &self.vendor,
            website: &self.website,
            contact: &self.contact,
        }
    }

    /// The place of its submissions below `reports/`.
    pub fn place(&self) -> String {
        format!("{}/{}/{}", self.kubeflow_release, self.slug(), self.version)
    }

    /// Everything that is wrong with the values, by field.
    fn wrong(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut hold = |field, complaint: Option<String>| {
            wrong.extend(complaint.map(|complaint| (field, complaint)));
        };
        if self.api_version != crate::API_VERSION {
            hold(
                "apiVersion",
                Some(format!("apiVersion must be `{}`", crate::API_VERSION)),
            );
        }
        hold("vendor", wrong_line("vendor", &self.vendor));
        hold("name", wrong_line("name", &self.name));
        if self.slug().is_empty() {
            hold(
                "name",
                Some("the name has no Latin letter or digit, which its folder needs".to_owned()),
            );
        }
        hold("version", wrong_version(&self.version));
        hold("website", wrong_address("website", &self.website));
        hold(
            "documentation",
            wrong_address("documentation", &self.documentation),
        );
        if let Some(repository) = &self.repository {
            hold("repository", wrong_address("repository", repository));
        }
        hold(
            "description",
            wrong_text("description", &self.description, MAX_DESCRIPTION),
        );
        hold("contact", wrong_mail(&self.contact));
        if self.kubernetes_targets.is_empty() || self.kubernetes_targets.len() > 20 {
            hold(
                "kubernetesTargets",
                Some("kubernetesTargets names 1 to 20 platforms".to_owned()),
            );
        }
        for target in self.kubernetes_targets.iter().take(20) {
            hold("kubernetesTargets", wrong_line("kubernetesTargets", target));
        }
        hold("adopters", wrong_address("adopters", &self.adopters));
        hold(
            "releaseCadence",
            wrong_line("releaseCadence", &self.release_cadence),
        );
        wrong
    }
}

fn wrong_line(field: &str, text: &str) -> Option<String> {
    if text.contains(['\n', '\t']) {
        return Some(format!("{field} is one line"));
    }
    wrong_text(field, text, MAX_LINE)
}

/// Text that is shown to people: some, not too much, nothing left of the template, nothing that acts on a page.
fn wrong_text(field: &str, text: &str, max: usize) -> Option<String> {
    let text = text.trim_end_matches('\n');
    if text.trim().is_empty() {
        return Some(format!("{field} is empty"));
    }
    if text.chars().count() > max {
        return Some(format!("{field} has more than {max} characters"));
    }
    if text.contains(['<', '>']) {
        return Some(format!(
            "{field} holds `<` or `>`: is that a mark of the template? Markup is not taken either"
        ));
    }
    let unfinished = ["todo", "tbd", "fixme", "lorem ipsum"];
    if unfinished.contains(&text.trim().to_lowercase().as_str()) {
        return Some(format!("{field} is still to be filled in"));
    }
    let spaced = text.replace(['\n', '\t'], " ");
    (one_line(&spaced) != spaced).then(|| format!("{field} holds characters that do not show"))
}

/// A version that stays what it is.
fn wrong_version(version: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    if !(1..=64).contains(&version.len())
        || !version.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !version.chars().all(allowed)
    {
        return Some(
            "a version has 1 to 64 letters, digits and `.-_+`, and begins with a letter or digit"
                .to_owned(),
        );
    }
    let moving = [
        "latest", "main", "master", "head", "dev", "edge", "nightly", "stable", "snapshot",
    ];
    let lower = version.to_lowercase();
    (moving.contains(&lower.as_str()) || !version.contains(|c: char| c.is_ascii_digit())).then(
        || format!("`{version}` names no fixed version; what was checked must be found again"),
    )
}

fn wrong_address(field: &str, address: &str) -> Option<String> {
    let wrong = |what: &str| {
        Some(format!(
            "{field} {what}; give an address like https://kubeflow.org/docs"
        ))
    };
    if address.len() > MAX_ADDRESS {
        return wrong("is too long");
    }
    let Ok(uri) = address.parse::<http::Uri>() else {
        return wrong("is no address");
    };
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    if uri.scheme_str() != Some("https") {
        return wrong("does not begin with https://");
    }
    if authority.contains(['@', '[']) || !is_public_host(uri.host().unwrap_or_default()) {
        return wrong("names no public host");
    }
    None
}

/// Whether a host is one that anybody could reach: a name with a dot, and none of those that are kept for examples.
fn is_public_host(host: &str) -> bool {
    let host = host.to_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let labels: Vec<&str> = host.split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    let kept = [
        "example",
        "invalid",
        "localhost",
        "test",
        "local",
        "internal",
    ];
    let of_example = labels.len() >= 2 && labels[labels.len() - 2] == "example";
    labels.len() >= 2
        && labels.iter().all(|l| label(l))
        && last.starts_with(|c: char| c.is_ascii_alphabetic())
        && !kept.contains(&last)
        && !of_example
}

fn wrong_mail(mail: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._%+-".contains(c);
    let fine = mail.split_once('@').is_some_and(|(local, host)| {
        (1..=64).contains(&local.len()) && local.chars().all(allowed) && is_public_host(host)
    });
    (!fine).then(|| "contact is no e-mail address".to_owned())
}

/// The JSON Schema of `product.yaml`, draft 2020-12.
pub fn schema() -> schemars::Schema {
    let mut schema = schemars::schema_for!(Product);
    schema.insert(
        "$id".to_owned(),
        "https://conformance.kubeflow.org/v1/product.schema.json".into(),
    );
    schema
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A product with which nothing is wrong.
    pub(crate) const FINE: &str = "\
apiVersion: conformance.kubeflow.org/v1
kind: Product
vendor: Northern Lights Computing
name: Aurora ML Platform
version: 3.2.0
website: https://kubeflow.org/aurora
documentation: https://kubeflow.org/aurora/docs
type: distribution
description: |
  Kubeflow with what a company needs around it.
  Air-gapped, too.
contact: conformance@kubeflow.org
kubernetesTargets: [Amazon EKS, upstream Kubernetes 1.34]
adopters: https://github.com/kubeflow/community/blob/master/ADOPTERS.md
releaseCadence: every three months
kubeflowRelease: \"26.03\"
";

    fn wrong(from: &str, to: &str) -> String {
        assert!(FINE.contains(from), "{from}");
        Product::parse(FINE.replacen(from, to, 1).as_bytes(), "p.yaml")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_product_is_read_and_has_its_place() {
        let product = Product::parse(FINE.as_bytes(), "p.yaml").unwrap();
        assert_eq!(product.place(), "26.03/aurora-ml-platform/3.2.0");
        let validator = jsonschema::validator_for(schema().as_value()).unwrap();
        assert!(validator.is_valid(&serde_json::to_value(&product).unwrap()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (from, to, says) in [
            ("vendor: N", "vendor: 7\nN: N", "p.yaml"),
            ("vendor:", "vendro:", "p.yaml:3:1"),
            (
                "name: Aurora ML Platform",
                "name: \"\"",
                "p.yaml:4:7: name is empty",
            ),
            ("name: Aurora", "name: <b>Aurora", "`<` or `>`"),
            (
                "name: Aurora ML Platform",
                "name: \"日本\"",
                "no Latin letter",
            ),
            ("name: Aurora", "name: \"Au\\u202erora\" #", "do not show"),
            ("version: 3.2.0", "version: latest", "no fixed version"),
            ("version: 3.2.0", "version: ../3", "1 to 64 letters"),
            ("website: https:", "website: http:", "https://"),
            (
                "website: https://kubeflow.org",
                "website: https://localhost",
                "no public host",
            ),
            (
                "website: https://kubeflow.org",
                "website: https://a@kubeflow.org",
                "no public host",
            ),
            (
                "website: https://kubeflow.org",
                "website: https://10.0.0.1",
                "no public host",
            ),
            (
                "documentation: https://kubeflow.org",
                "documentation: https://www.example.com",
                "no public host",
            ),
            ("type: distribution", "type: product", "p.yaml:8:"),
            ("contact: conformance@", "contact: conformance", "no e-mail"),
            (
                "[Amazon EKS, upstream Kubernetes 1.34]",
                "[]",
                "1 to 20 platforms",
            ),
            ("every three months", "TBD", "to be filled in"),
            ("\"26.03\"", "latest", "p.yaml:"),
            ("conformance.kubeflow.org/v1", "v2", "apiVersion must be"),
            ("kind: Product", "kind: Result", "p.yaml:2:"),
            ("contact:", "contact: a@b.org\ncontact:", "p.yaml:"),
        ] {
            let error = wrong(from, to);
            assert!(error.contains(says), "{to}: {error}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let error = wrong("contact: conformance@", "contact: conformance");
        assert_eq!(error.matches("p.yaml:").count(), 1, "{error}");
        let text = FINE.replace("https:", "http:");
        let error = Product::parse(text.as_bytes(), "p.yaml").unwrap_err();
        assert!(matches!(error, ProductError::Invalid(all) if all.len() == 3));
    }

    #[test]
    fn the_template_is_whole_and_is_not_accepted_as_it_is() {
        let error = Product::parse(TEMPLATE.as_bytes(), "product.yaml")
            .unwrap_err()
            .to_string();
        for field in ["vendor", "name", "website", "description", "contact"] {
            assert!(error.contains(field), "{field}: {error}");
        }
        for (field, _) in serde_json::to_value(Product::parse(FINE.as_bytes(), "p").unwrap())
            .unwrap()
            .as_object()
            .unwrap()
        {
            assert!(
                TEMPLATE.contains(&format!("\n{field}:")) || field == "apiVersion",
                "{field}"
            );
        }
    }

    #[test]
    fn the_schema_file_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/schema/product.schema.json");
        let text = format!("{:#}\n", serde_json::to_value(schema()).unwrap());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap();
        assert_eq!(found, text, "run the tests with UPDATE=1");
    }

    #[test]
    fn hostile_yaml_is_refused() {
        let deep = "[".repeat(100_000);
        assert!(Product::parse(deep.as_bytes(), "p").is_err());
        assert!(Product::parse(b"\xff\xfe", "p").is_err());
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..20 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert!(Product::parse(bomb.as_bytes(), "p").is_err());
    }
}
