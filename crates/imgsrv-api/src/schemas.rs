//! Schemas that cannot be written as attributes: of the items of a list, and of the keys and values of a map.

use utoipa::openapi::{
    ArrayBuilder, Object, ObjectBuilder,
    schema::{Array, SchemaType, Type},
};

/// A text without control and bidirectional formatting characters.
const TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$";

fn text(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}

/// A map of at most 32 short strings, whose keys match a pattern.
fn map(schema_type: SchemaType, keys: &str, description: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(schema_type)
        .description(Some(description))
        .property_names(Some(text(keys)))
        .additional_properties(Some(text(TEXT).max_length(Some(256))))
        .max_properties(Some(32))
        .build()
}

pub(crate) fn attributes() -> Object {
    let description = "Notes for operators, at most 32 entries. They do not affect access.";
    map(SchemaType::from_iter([Type::Object, Type::Null]), "^[A-Za-z0-9._-]{1,64}$", description)
}

pub(crate) fn properties() -> Object {
    let description = "Additional properties of the image, at most 32.";
    map(Type::Object.into(), "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$", description)
}

pub(crate) fn aliases() -> Array {
    ArrayBuilder::new()
        .items(text("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))
        .max_items(Some(16))
        .description(Some("Aliases to point to the version once it is published, at most 16."))
        .build()
}

fn text_of_reason(schema_type: SchemaType, description: &str) -> Object {
    let reason = text(TEXT).min_length(Some(1)).max_length(Some(4096));
    reason.schema_type(schema_type).description(Some(description)).build()
}

pub(crate) fn reason() -> Object {
    text_of_reason(Type::String.into(), "Reason, for everybody who can read the version.")
}

pub(crate) fn optional_reason() -> Object {
    let nullable = SchemaType::from_iter([Type::String, Type::Null]);
    text_of_reason(nullable, "Reason, for everybody who can read the version.")
}

pub(crate) fn audit_reason() -> Object {
    text_of_reason(SchemaType::from_iter([Type::String, Type::Null]), "Reason, for the audit log.")
}

pub(crate) fn replacement() -> Object {
    text("^([a-z0-9][a-z0-9._-]{0,127}:)?[A-Za-z0-9][A-Za-z0-9._+:~^-]{0,127}$")
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some(
            "What to use instead: a version or alias of the image, or `IMAGE:NAME` for one of another image.",
        ))
        .build()
}

pub(crate) fn alias_moves() -> Object {
    let version = text("^[A-Za-z0-9][A-Za-z0-9._+:~^-]{0,127}$");
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "Aliases to move to another version in the same transaction: the name of the version, or `null` to delete \
             the alias.",
        ))
        .property_names(Some(text("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")))
        .additional_properties(Some(version.schema_type(SchemaType::from_iter([Type::String, Type::Null]))))
        .build()
}

pub(crate) fn forwarded_claims() -> Array {
    ArrayBuilder::new()
        .items(text(TEXT).min_length(Some(1)).max_length(Some(256)))
        .max_items(Some(64))
        .description(Some("Names of the claims that the condition can use, at most 64."))
        .build()
}

fn patterns(pattern: &str, max: usize) -> Array {
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).max_length(Some(max)))
        .min_items(Some(1))
        .max_items(Some(64))
        .build()
}

pub(crate) fn image_patterns() -> Array {
    patterns("^[a-z0-9._*-]{1,128}$", 128)
}

pub(crate) fn image_templates() -> Array {
    patterns(r"^([a-z0-9._*-]|\{claims\.[^\s{}]+\})+$", 256)
}

pub(crate) fn assigned_roles() -> Array {
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["content-reader", "content-writer"])))
        .min_items(Some(1))
        .max_items(Some(1))
        .description(Some(
            "The role that the rule grants: `[\"content-writer\"]` or `[\"content-reader\"]`. Default: `[\"content-writer\"]`.",
        ))
        .build()
}
