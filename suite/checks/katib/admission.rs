//! Checks of admission as rows: what is changed in the good Experiment, and what must come of it.

use super::{base, changed};
use crate::checks::prelude::*;

/// A change to the good Experiment, with the words that say what it makes of it.
pub(super) type Case = (&'static str, Value);

/// The good Experiment and each of `accepted` pass admission; each of `refused` does not.
pub(super) async fn refuses(cx: &Cx, accepted: &[Case], refused: &[Case]) -> Outcome {
    let good = base(cx, "dry")?;
    cx.dry_run(&EXPERIMENT, &good).await?;
    for (what, changes) in accepted {
        let answer = cx
            .try_dry_run(&EXPERIMENT, &changed(&good, changes))
            .await?;
        super::super::kube::accepted(&answer, &format!("an Experiment {what}"))?;
    }
    for (what, changes) in refused {
        cx.refuses_only(&EXPERIMENT, &changed(&good, changes), what)
            .await?;
    }
    Ok(())
}

/// For each case admission leaves at the JSON pointers what is expected there.
pub(super) async fn defaults(cx: &Cx, cases: &[(Case, Value)]) -> Outcome {
    let good = base(cx, "dry")?;
    for ((what, changes), expected) in cases {
        let seen = cx.dry_run(&EXPERIMENT, &changed(&good, changes)).await?;
        for (pointer, value) in expected.as_object().into_iter().flatten() {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            let found = seen.pointer(pointer).unwrap_or(&Value::Null);
            ensure_eq!(*found, *value, "{what}, {field}");
        }
    }
    Ok(())
}

/// Rows of `ID => NAME { accepts WHAT {CHANGES} … refuses WHAT {CHANGES} … }`, each a check with its own table entry.
/// `also ID => NAME` at the end adds checks that are written out.
macro_rules! admission_checks {
    ($($(#[$doc:meta])* $id:literal => $name:ident {
        $(accepts $good:literal $accept:tt)*
        $(refuses $bad:literal $refuse:tt)*
    })* $(also $also_id:literal => $also:ident)*) => {
        $($(#[$doc])* pub async fn $name(cx: &Cx) -> Outcome {
            $crate::checks::katib::admission::refuses(
                cx,
                &[$(($good, json!($accept))),*],
                &[$(($bad, json!($refuse))),*],
            )
            .await
        })*
        requirement_checks! { $($id => $name;)* $($also_id => $also;)* }
    };
}

/// Rows of `ID => NAME { when WHAT {CHANGES} expects {POINTERS} … }`; `also` as there.
macro_rules! default_checks {
    ($($(#[$doc:meta])* $id:literal => $name:ident {
        $(when $what:literal $change:tt expects $expected:tt)*
    })* $(also $also_id:literal => $also:ident)*) => {
        $($(#[$doc])* pub async fn $name(cx: &Cx) -> Outcome {
            $crate::checks::katib::admission::defaults(
                cx,
                &[$((($what, json!($change)), json!($expected))),*],
            )
            .await
        })*
        requirement_checks! { $($id => $name;)* $($also_id => $also;)* }
    };
}

pub(super) use {admission_checks, default_checks};
