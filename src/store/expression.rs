//! The expressions of an `UpdateItem` call.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::item::Attributes;
use crate::update::{Access, Change, IfMatch, Update};

/// The versions that one call may replace.
#[derive(Debug)]
pub enum Expected {
    /// Those that `If-Match` allows and that are before the version being written. The second part keeps an attempt
    /// that arrives late from undoing a later write, and holds for items without `updated_at` too.
    AllowedByIfMatch,
    /// Exactly this one, which `If-Match` allows: a compare-and-swap.
    Stored(String),
}

/// Adds the update, the condition and what is to be returned to `request`. `version` becomes the item's `updated_at`
/// where something is written.
pub fn with_expressions(
    request: UpdateItemFluentBuilder,
    update: &Update<Attributes>,
    expected: &Expected,
    version: &str,
) -> UpdateItemFluentBuilder {
    let request = request
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    condition(set_update(request, &update.change, version), update, expected)
}

fn set_update(request: UpdateItemFluentBuilder, change: &Change<Attributes>, version: &str) -> UpdateItemFluentBuilder {
    let now = || string(version);
    match change {
        Change::Keep => request,
        Change::Remove => {
            request.update_expression("SET updated_at = :now REMOVE meta").expression_attribute_values(":now", now())
        }
        Change::Set(meta) => request
            .update_expression("SET meta = :meta, updated_at = :now")
            .expression_attribute_values(":now", now())
            .expression_attribute_values(":meta", AttributeValue::M(meta.clone())),
    }
}

fn condition(
    mut request: UpdateItemFluentBuilder,
    update: &Update<Attributes>,
    expected: &Expected,
) -> UpdateItemFluentBuilder {
    let mut condition = "attribute_exists(id)".to_owned();
    if let Access::Node(node) = update.access {
        condition.push_str(" AND node_id = :node");
        request = request.expression_attribute_values(":node", AttributeValue::S(node.to_string()));
    }
    match (expected, &update.if_match) {
        (Expected::Stored(version), _) => {
            condition.push_str(" AND updated_at = :stored");
            request = request.expression_attribute_values(":stored", string(version));
        }
        (Expected::AllowedByIfMatch, IfMatch::Any) => {}
        // Only weak tags: no version matches, and the item decides between 404 and 412.
        (Expected::AllowedByIfMatch, IfMatch::OneOf(tags)) if tags.is_empty() => {
            condition.push_str(" AND attribute_not_exists(id)");
        }
        (Expected::AllowedByIfMatch, IfMatch::OneOf(tags)) => {
            let names: Vec<_> = (0..tags.len()).map(|index| format!(":tag{index}")).collect();
            condition = format!("{condition} AND updated_at IN ({})", names.join(", "));
            for (name, tag) in names.into_iter().zip(tags) {
                request = request.expression_attribute_values(name, string(tag.opaque()));
            }
        }
    }
    if matches!(expected, Expected::AllowedByIfMatch) && !matches!(update.change, Change::Keep) {
        condition.push_str(" AND NOT updated_at >= :now");
    }
    request.condition_expression(condition)
}

fn string(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}
