//! The feed: everything that the pages say, for programs, as a JSON Feed 1.1.

use jiff::civil::Date;
use serde_json::{Value, json};

use super::{Entry, Standing};
use crate::report::text::{json_printable, one_line};

/// The text of `feed.json`.
pub fn feed(entries: &[Entry], date: Date) -> String {
    let shown = entries.iter().filter(|entry| entry.shown.is_some());
    let refused = entries.iter().filter(|entry| entry.shown.is_none());
    let feed = json!({
        "version": "https://jsonfeed.org/version/1.1",
        "title": "Kubeflow conformance",
        "description": "Submissions to the Kubeflow conformance programme, each reviewed again when this was made.",
        "_conformance": {
            "apiVersion": crate::API_VERSION,
            "date": date.to_string(),
            "refused": refused.map(|entry| json!({
                "path": entry.place.path(),
                "rules": entry.refusals.iter().map(|r| json!({"rule": r.rule, "message": r.message})).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        },
        "items": shown.map(|entry| item(entry, date)).collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&feed).unwrap_or_default();
    format!("{}\n", json_printable(&text))
}

fn item(entry: &Entry, date: Date) -> Value {
    let Some(shown) = &entry.shown else {
        return Value::Null;
    };
    let (product, record) = (&shown.product, &shown.record);
    let line = |text: &str| one_line(text).into_owned();
    let standing = match entry.standing(date) {
        Standing::Valid => "valid",
        Standing::Ended => "ended",
        Standing::Claimed => "claimed",
        Standing::Sample => "sample",
        Standing::Refused => "refused",
    };
    let components: serde_json::Map<String, Value> = shown
        .totals
        .iter()
        .map(|(name, totals)| {
            let version = shown.versions.get(name).map(|v| line(v));
            (
                line(name),
                json!({"version": version, "core": totals.core, "extended": totals.extended}),
            )
        })
        .collect();
    json!({
        "id": entry.place.path(),
        "title": format!("{} {}: Kubeflow {} {}", line(&product.name), line(&product.version), entry.place.release, shown.verdict),
        "content_text": line(product.description.trim()),
        "date_published": format!("{}T00:00:00Z", record.valid_from),
        "authors": [{"name": line(&product.vendor), "url": product.website}],
        "_conformance": {
            "standing": standing,
            "distribution": line(&product.name),
            "version": line(&product.version),
            "vendor": line(&product.vendor),
            "type": product.type_,
            "contact": line(&product.contact),
            "release": entry.place.release,
            "profile": line(&shown.profile),
            "verdict": shown.verdict,
            "validFrom": record.valid_from.to_string(),
            "validUntil": record.valid_until.to_string(),
            "nextReview": record.next_review.to_string(),
            "kubernetes": shown.kubernetes.as_deref().map(line),
            "suite": line(&shown.suite),
            "components": components,
            "knownDeviations": shown.deviations.iter().map(|(id, says, issue)| json!({
                "requirement": line(id), "says": line(says), "issue": line(issue),
            })).collect::<Vec<_>>(),
            "page": entry.place.page(),
            "report": entry.place.report_page(),
            "badge": entry.place.badge(),
        },
    })
}
