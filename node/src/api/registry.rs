//! One entry a method: name, scope, words, parameter and result types, and what runs. Registration and schema are both
//! made from it, so that they cannot drift.

use std::future::Future;
use std::sync::Arc;

use jsonrpsee::core::error::RegisterMethodError;
use jsonrpsee::core::server::MethodCallback;
use jsonrpsee::types::{ErrorObjectOwned, Id, Params};
use jsonrpsee::{Extensions, Methods, RpcModule};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::caller::{Caller, Scope};
use super::error::{ApiError, ErrorKind};
use super::types;

/// One method of the API.
pub struct Method<C> {
    /// Its name.
    pub name: &'static str,
    /// The scope a token needs; every caller may call methods without one.
    pub scope: Option<Scope>,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// True for subscriptions, which are answered by a number and then by notifications.
    pub subscription: bool,
    /// Schema of its parameters.
    pub params: fn(&mut SchemaGenerator) -> schemars::Schema,
    /// Schema of its result, or of its notifications.
    pub result: fn(&mut SchemaGenerator) -> schemars::Schema,
    /// Puts it into the table.
    pub register: fn(&mut RpcModule<C>, &Method<C>) -> Result<(), RegisterMethodError>,
}

/// Lists methods: `name, scope, doc: Params => Result = handler;`.
macro_rules! methods {
    ($context:ty; $( $name:literal, $scope:expr, $doc:literal: $params:ty => $result:ty = $handler:path; )*) => {
        &[ $( $crate::api::registry::Method::<$context> {
            name: $name,
            scope: $scope,
            doc: $doc,
            subscription: false,
            params: $crate::api::registry::schema_of::<$params>,
            result: $crate::api::registry::schema_of::<$result>,
            register: |module, method| {
                $crate::api::registry::register::<$context, $params, $result, _, _>(module, method, $handler)
            },
        } ),* ]
    };
}
pub(crate) use methods;

/// The schema of a type, by reference into the shared definitions.
pub fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<T>()
}

/// Puts a method into the table: admission, parameters, handler, error form.
pub fn register<C, P, R, F, Fut>(
    module: &mut RpcModule<C>,
    method: &Method<C>,
    handler: F,
) -> Result<(), RegisterMethodError>
where
    C: Send + Sync + 'static,
    P: DeserializeOwned + Send + 'static,
    R: Serialize + Clone + Send + 'static,
    F: Fn(Arc<C>, P) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<R, ApiError>> + Send,
{
    let (name, scope) = (method.name, method.scope);
    module.register_async_method(name, move |params, context, extensions| async move {
        let params = open(&extensions, name, scope, &params)?;
        handler(context, params).await.map_err(ErrorObjectOwned::from)
    })?;
    Ok(())
}

/// Admits the caller and reads the parameters.
pub fn open<P: DeserializeOwned>(
    extensions: &Extensions,
    name: &str,
    scope: Option<Scope>,
    params: &Params<'_>,
) -> Result<P, ErrorObjectOwned> {
    let Some(caller) = extensions.get::<Caller>() else {
        return Err(ApiError::new(ErrorKind::Forbidden, "the call has no caller").into());
    };
    caller.admit(name, scope)?;
    Ok(read_params(params.as_str())?)
}

/// Reads named parameters; none is the same as `{}`.
fn read_params<P: DeserializeOwned>(text: Option<&str>) -> Result<P, ApiError> {
    let text = text.filter(|text| !text.is_empty() && *text != "null").unwrap_or("{}");
    if !text.starts_with('{') {
        return Err(ApiError::new(ErrorKind::InvalidParams, "parameters are named: an object, not a list")
            .hint("`silbo schema` lists the names"));
    }
    serde_json::from_str(text).map_err(|error| {
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or(&what).to_owned();
        let field =
            what.split('`').nth(1).filter(|_| what.starts_with("missing field") || what.starts_with("unknown field"));
        let field = field.map(str::to_owned);
        let error = ApiError::new(ErrorKind::InvalidParams, what).hint("`silbo schema` lists the parameters");
        match field {
            Some(field) => error.field(&field),
            None => error,
        }
    })
}

/// Lets an unsubscription take `{"subscription": N}` as every other method takes names; the library knows only lists.
///
/// # Errors
/// When the method is not in the table.
pub fn name_parameters_of_unsubscription(
    methods: &mut RpcModule<impl Send + Sync + 'static>,
    name: &'static str,
) -> Result<(), RegisterMethodError> {
    let Some(MethodCallback::Unsubscription(listed)) = methods.remove_method(name) else {
        return Err(RegisterMethodError::MethodNotFound(name.to_owned()));
    };
    let named = move |id: Id<'_>, params: Params<'_>, connection, size, extensions: Extensions| {
        let list = match open::<types::EventsUnsubscribe>(&extensions, name, None, &params) {
            Ok(params) => format!("[{}]", params.subscription),
            Err(error) => return jsonrpsee::MethodResponse::error(id, error),
        };
        listed(id, Params::new(Some(&list)), connection, size, extensions)
    };
    methods.verify_and_insert(name, MethodCallback::Unsubscription(Arc::new(named)))?;
    Ok(())
}

/// The machine-readable description of `methods`, in the form of OpenRPC.
pub fn describe<C: 'static>(methods: impl Iterator<Item = &'static Method<C>>) -> Value {
    let definitions = |settings: SchemaSettings| {
        settings.with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut incoming = definitions(SchemaSettings::draft2020_12().for_deserialize()).into_generator();
    let mut outgoing = definitions(SchemaSettings::draft2020_12().for_serialize()).into_generator();
    let mut list = Vec::new();
    for method in methods {
        let params = (method.params)(&mut incoming);
        let params = inlined(&mut incoming, params.to_value());
        let result = (method.result)(&mut outgoing).to_value();
        let mut entry = json!({
            "name": method.name,
            "summary": method.doc,
            "paramStructure": "by-name",
            "params": descriptors(&params),
            "result": { "name": if method.subscription { "subscription" } else { "result" }, "schema": result },
            "x-scope": method.scope.map(Scope::as_str),
        });
        if method.subscription {
            entry["result"]["schema"] = json!({ "type": "integer" });
            entry["x-notification"] = json!({ "method": "event", "schema": result });
        }
        list.push(entry);
    }
    let error_data = schema_of::<super::error::ErrorData>(&mut outgoing).to_value();
    let mut schemas = Map::new();
    schemas.extend(incoming.take_definitions(true));
    schemas.extend(outgoing.take_definitions(true));
    let errors: Vec<Value> = ErrorKind::ALL.iter().map(|kind| json!({ "code": kind.code(), "kind": kind })).collect();
    json!({
        "openrpc": "1.3.2",
        "info": { "title": "Silbo node", "version": super::API_VERSION.to_string() },
        "methods": list,
        "components": { "schemas": schemas },
        "x-errors": { "data": error_data, "kinds": errors },
    })
}

/// Parameters one by one, as OpenRPC wants them.
fn descriptors(params: &Value) -> Vec<Value> {
    let required: Vec<&str> = params["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = params["properties"].as_object() else { return Vec::new() };
    let describe = |(name, schema): (&String, &Value)| json!({ "name": name, "required": required.contains(&name.as_str()), "schema": schema });
    properties.iter().map(describe).collect()
}

/// Replaces a reference to a parameter struct by the struct, which nobody else refers to.
fn inlined(generator: &mut SchemaGenerator, schema: Value) -> Value {
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
    match name {
        Some(name) => generator.definitions_mut().remove(&name).unwrap_or(schema),
        None => schema,
    }
}

/// The methods as the library wants them.
///
/// # Errors
/// When two methods have one name.
pub fn table<C: Send + Sync + 'static>(
    context: Arc<C>,
    methods: impl Iterator<Item = &'static Method<C>>,
) -> Result<RpcModule<C>, RegisterMethodError> {
    let mut module = RpcModule::from_arc(context);
    for method in methods {
        (method.register)(&mut module, method)?;
    }
    Ok(module)
}

/// A copy of a table whose direct calls are made by `caller`.
pub fn called_by(methods: &Methods, caller: Caller) -> Methods {
    let mut methods = methods.clone();
    methods.extensions_mut().insert(caller);
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_parameters_are_refused() {
        let error = read_params::<types::ById>(Some(r#"["x"]"#)).expect_err("a list");
        assert_eq!(error.data.kind, ErrorKind::InvalidParams);
        assert!(error.data.hint.is_some());
    }

    #[test]
    fn a_missing_or_unknown_parameter_is_named() {
        let error = read_params::<types::ById>(Some("{}")).expect_err("no id");
        assert_eq!(error.data.field.as_deref(), Some("id"));
        let error = read_params::<types::ById>(Some(r#"{"id":"x","idd":"y"}"#)).expect_err("a typing error");
        assert_eq!(error.data.field.as_deref(), Some("idd"));
    }

    #[test]
    fn no_parameters_are_an_empty_object() {
        for text in [None, Some(""), Some("null"), Some("{}")] {
            assert!(read_params::<types::Nothing>(text).is_ok(), "{text:?}");
        }
    }
}
