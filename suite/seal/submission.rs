//! What a submission claims beyond its results: whose product it is about, and for how long it counts.

use jiff::{Span, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::product::Product;
use crate::report::model::{Results, Target};
use crate::spec::Program;

/// The part of the signed predicate that makes a result a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The vendor, as in `product.yaml`.
    pub vendor: String,
    /// The product's name.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Made from a run on the embedded reference, to show how a submission looks: nobody may carry a mark for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sample: bool,
    /// The day on which the run ended.
    pub valid_from: Date,
    /// The last day on which it counts.
    pub valid_until: Date,
    /// The day by which the distribution is reviewed again.
    pub next_review: Date,
}

impl Record {
    /// What results are as a submission of a product under a programme's rules.
    pub fn new(product: &Product, results: &Results, program: &Program) -> Self {
        let valid_from = results.run.finished.to_zoned(TimeZone::UTC).date();
        let after = |months: u8| {
            valid_from
                .checked_add(Span::new().months(months))
                .unwrap_or(Date::MAX)
        };
        Self {
            vendor: product.vendor.clone(),
            product: product.name.clone(),
            version: product.version.clone(),
            sample: results.run.target == Target::Reference,
            valid_from,
            valid_until: after(program.validity_months),
            next_review: after(program.review_months),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::seal::product::tests::FINE;
    use crate::spec::Specs;

    #[test]
    fn a_submission_counts_for_a_year_and_is_looked_at_again_after_half_of_it() {
        let product = Product::parse(FINE.as_bytes(), "p").unwrap();
        let mut results = sample::conformant();
        results.run.finished = "2024-02-29T23:59:59Z".parse().unwrap();
        let record = Record::new(&product, &results, Specs::embedded().program());
        let dates = [record.valid_from, record.valid_until, record.next_review];
        assert_eq!(
            dates.map(|d| d.to_string()),
            ["2024-02-29", "2025-02-28", "2024-08-29"]
        );
        results.run.finished = jiff::Timestamp::MAX;
        Record::new(&product, &results, Specs::embedded().program());
    }
}
