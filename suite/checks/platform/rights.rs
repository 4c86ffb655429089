//! Who may do what, as the cluster itself answers it.

use std::fmt;

use crate::{
    checks::{kube::accepted, prelude::*},
    cluster::Endpoint,
};

/// Somebody of whom the cluster is asked.
#[derive(Debug, Clone)]
pub struct Who {
    name: String,
    groups: Vec<String>,
}

impl Who {
    /// A person.
    pub fn user(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            groups: vec!["system:authenticated".to_owned()],
        }
    }

    /// A service account.
    pub fn account(namespace: &str, name: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
        }
    }

    /// The same as a member of a group, too.
    #[must_use]
    pub fn of(mut self, group: &str) -> Self {
        self.groups.push(group.to_owned());
        self
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.name)
    }
}

/// A verb on a resource: `("create", "", "pods/exec")`.
pub type Deed = (&'static str, &'static str, &'static str);

fn said((verb, group, resource): &Deed) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{verb} {resource}{dot}{group}")
}

/// Of each deed whether somebody may do it in a namespace.
pub async fn rights(cx: &Cx, who: &Who, namespace: &str, deeds: &[Deed]) -> Outcome<Vec<bool>> {
    let review = |(verb, group, resource): &Deed| {
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        // A request about a namespace is one within it.
        let name = if resource == "namespaces" {
            namespace
        } else {
            ""
        };
        let review = json!({
            "apiVersion": ACCESS.api_version(), "kind": ACCESS.kind,
            "spec": {"user": who.name, "groups": who.groups, "resourceAttributes": {
                "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": sub,
                "name": name,
            }},
        });
        Request::new(Endpoint::Kubernetes, "POST", ACCESS.path("")).json(review)
    };
    let mut answers = Vec::new();
    let sent = cx.session.batch(deeds.iter().map(review).collect()).await;
    for (deed, sent) in deeds.iter().zip(sent) {
        let answer = match sent {
            Ok(answer) if answer.is_success() => answer,
            // Once more, with the patience of a single request.
            _ => cx.kube(review(deed)).await?,
        };
        let doing = format!("the question whether {who} may {}", said(deed));
        let review = accepted(&answer, &doing)?;
        answers.push(review["status"]["allowed"] == true);
    }
    Ok(answers)
}

/// Somebody may do all of these in a namespace.
pub async fn may(cx: &Cx, who: &Who, namespace: &str, deeds: &[Deed]) -> Outcome {
    ask(cx, who, namespace, deeds, true).await
}

/// Somebody may do none of these in a namespace.
pub async fn may_not(cx: &Cx, who: &Who, namespace: &str, deeds: &[Deed]) -> Outcome {
    ask(cx, who, namespace, deeds, false).await
}

async fn ask(cx: &Cx, who: &Who, namespace: &str, deeds: &[Deed], wanted: bool) -> Outcome {
    let found = rights(cx, who, namespace, deeds).await?;
    let other = deeds
        .iter()
        .zip(found)
        .filter(|(_, found)| *found != wanted);
    let other: Vec<String> = other.map(|(deed, _)| said(deed)).collect();
    let (is, must) = if wanted {
        ("may not", "must be able to")
    } else {
        ("may", "must not")
    };
    if other.is_empty() {
        return Ok(());
    }
    let other = other.join(", ");
    Err(Stop::unlike(
        format!("{who} {is} {other} in namespace `{namespace}`, and {must}"),
        format!("{must} {other}"),
        format!("{is} {other}"),
    ))
}

/// The same within the timeout `reconcile`, for rights that were given or taken just now.
pub async fn come_to(cx: &Cx, who: &Who, namespace: &str, deeds: &[Deed], wanted: bool) -> Outcome {
    cx.retry("reconcile", || ask(cx, who, namespace, deeds, wanted))
        .await
}
