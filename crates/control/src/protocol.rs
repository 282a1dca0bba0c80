//! Calls and replies (Varlink's wire, <https://varlink.org/Method-Call>).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/coati/control.sock";

/// Where racoon listened, and the daemon called by its name does.
pub const RACOON_SOCKET: &str = "/var/run/racoon/racoon.sock";

/// The interface's name.
pub const INTERFACE: &str = "org.coati.control";

/// The interface in Varlink's own language: methods, types, errors.
pub const DESCRIPTION: &str = include_str!("org.coati.control.varlink");

/// The interface every Varlink service has.
pub const SERVICE_INTERFACE: &str = "org.varlink.service";

/// `org.varlink.service` in Varlink's own language.
pub const SERVICE_DESCRIPTION: &str = "\
# What every Varlink service can be asked.
interface org.varlink.service

method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
";

/// One call as it stands on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Interface and method, with a dot between.
    pub method: String,
    /// The method's parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "null_is_empty")]
    pub parameters: Map<String, Value>,
    /// The caller wants no reply.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub oneway: bool,
    /// The caller takes more than one reply.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub more: bool,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Call {
    /// A call of `method` with `parameters`, which is a JSON object.
    #[must_use]
    pub fn new(method: &str, parameters: Value) -> Self {
        let parameters = if let Value::Object(map) = parameters { map } else { Map::new() };
        Self { method: format!("{INTERFACE}.{method}"), parameters, oneway: false, more: false }
    }
}

/// One reply as it stands on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The error's name, with its interface in front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the method gives, or what the error has to say.
    #[serde(default)]
    pub parameters: Value,
    /// More replies to the same call follow.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub continues: bool,
}

impl Reply {
    /// What a method gives.
    #[must_use]
    pub const fn of(parameters: Value) -> Self {
        Self { error: None, parameters, continues: false }
    }

    /// One of several things a method gives.
    #[must_use]
    pub const fn one_of(parameters: Value) -> Self {
        Self { error: None, parameters, continues: true }
    }

    /// The method is done and gives nothing.
    #[must_use]
    pub fn done() -> Self {
        Self::of(json!({}))
    }

    /// The daemon could not do it.
    #[must_use]
    pub fn refused(reason: &str) -> Self {
        let error = Some(format!("{INTERFACE}.Refused"));
        Self { error, parameters: json!({ "reason": reason }), continues: false }
    }

    fn service(error: &str, parameters: Value) -> Self {
        let error = Some(format!("{SERVICE_INTERFACE}.{error}"));
        Self { error, parameters, continues: false }
    }

    /// The caller may not call.
    #[must_use]
    pub fn permission_denied() -> Self {
        Self::service("PermissionDenied", json!({}))
    }
}

/// A call that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `Status`
    Status,
    /// `Reload`
    Reload,
    /// `Initiate`
    Initiate(Pair),
    /// `Reauthenticate`
    Reauthenticate(Pair),
    /// `PeerCertificate`
    PeerCertificate(Pair),
    /// `Delete`
    Delete(Pair),
    /// `Stop`
    Stop,
    /// `Leave`
    Leave,
    /// `Establish`
    Establish(Traffic),
    /// `Flush`
    Flush(Flush),
    /// `Watch`
    Watch,
}

/// Traffic between two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Port of our end, with a protocol that has ports.
    pub source_port: Option<u16>,
    /// Port of the peer's end.
    pub destination_port: Option<u16>,
    /// Address and prefix length of our end.
    pub source: (std::net::IpAddr, u8),
    /// Address and prefix length of the peer's end.
    pub destination: (std::net::IpAddr, u8),
    /// IP protocol; 0 is any.
    pub protocol: u8,
}

/// What is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flush {
    /// IKE SAs with their children.
    Isakmp,
    /// The kernel's ESP SAs.
    Esp,
    /// The kernel's AH SAs.
    Ah,
    /// Both.
    Ipsec,
}

/// The two addresses of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Ours.
    pub local: std::net::IpAddr,
    /// The peer's.
    pub remote: std::net::IpAddr,
}

/// Reads a call: what is for the daemon to do, or the reply that needs no daemon.
///
/// # Errors
/// The reply to give at once: about the service itself, or what is wrong with the call.
pub fn understand(call: &Call) -> Result<Request, Reply> {
    let (interface, method) = call.method.rsplit_once('.').unwrap_or(("", &call.method));
    match (interface, method) {
        (SERVICE_INTERFACE, "GetInfo") => Err(info()),
        (SERVICE_INTERFACE, "GetInterfaceDescription") => Err(description(call)),
        (INTERFACE, "Status") => bare(call, Request::Status),
        (INTERFACE, "Reload") => bare(call, Request::Reload),
        (INTERFACE, "Stop") => bare(call, Request::Stop),
        (INTERFACE, "Leave") => bare(call, Request::Leave),
        (INTERFACE, "Initiate") => pair(call).map(Request::Initiate),
        (INTERFACE, "Reauthenticate") => pair(call).map(Request::Reauthenticate),
        (INTERFACE, "PeerCertificate") => pair(call).map(Request::PeerCertificate),
        (INTERFACE, "Delete") => pair(call).map(Request::Delete),
        (INTERFACE, "Establish") => traffic(call).map(Request::Establish),
        (INTERFACE, "Flush") => flush(call).map(Request::Flush),
        (INTERFACE, "Watch") if !call.more => Err(Reply::service("ExpectedMore", json!({}))),
        (INTERFACE, "Watch") => bare(call, Request::Watch),
        (INTERFACE | SERVICE_INTERFACE, _) => {
            Err(Reply::service("MethodNotFound", json!({ "method": call.method })))
        }
        _ => Err(Reply::service("InterfaceNotFound", json!({ "interface": interface }))),
    }
}

fn info() -> Reply {
    Reply::of(json!({
        "vendor": "Coati",
        "product": "coatid",
        "version": env!("CARGO_PKG_VERSION"),
        "url": "",
        "interfaces": [SERVICE_INTERFACE, INTERFACE],
    }))
}

fn description(call: &Call) -> Reply {
    match call.parameters.get("interface").and_then(Value::as_str) {
        Some(INTERFACE) => Reply::of(json!({ "description": DESCRIPTION })),
        Some(SERVICE_INTERFACE) => Reply::of(json!({ "description": SERVICE_DESCRIPTION })),
        Some(other) => Reply::service("InterfaceNotFound", json!({ "interface": other })),
        None => invalid("interface"),
    }
}

fn invalid(parameter: &str) -> Reply {
    Reply::service("InvalidParameter", json!({ "parameter": parameter }))
}

/// A call without parameters.
fn bare(call: &Call, request: Request) -> Result<Request, Reply> {
    match call.parameters.keys().next() {
        None => Ok(request),
        Some(unknown) => Err(invalid(unknown)),
    }
}

fn pair(call: &Call) -> Result<Pair, Reply> {
    let address = |name: &str| {
        let text = call.parameters.get(name).and_then(Value::as_str);
        text.and_then(|text| text.parse().ok()).ok_or_else(|| invalid(name))
    };
    if let Some(unknown) = call.parameters.keys().find(|name| !["local", "remote"].contains(&name.as_str())) {
        return Err(invalid(unknown));
    }
    let pair = Pair { local: address("local")?, remote: address("remote")? };
    if pair.local.is_ipv4() == pair.remote.is_ipv4() { Ok(pair) } else { Err(invalid("remote")) }
}

/// An address, perhaps with a prefix length behind a slash.
fn network(text: &str) -> Option<(std::net::IpAddr, u8)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, length)| (a, Some(length)));
    let address: std::net::IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(longest), |length| length.parse().ok())?;
    (length <= longest).then_some((address, length))
}

fn known_only(call: &Call, known: &[&str]) -> Result<(), Reply> {
    call.parameters
        .keys()
        .find(|name| !known.contains(&name.as_str()))
        .map_or(Ok(()), |name| Err(invalid(name)))
}

fn traffic(call: &Call) -> Result<Traffic, Reply> {
    known_only(call, &["source", "destination", "protocol", "source_port", "destination_port"])?;
    let end = |name: &str| {
        let text = call.parameters.get(name).and_then(Value::as_str);
        text.and_then(network).ok_or_else(|| invalid(name))
    };
    let protocol = call.parameters.get("protocol").and_then(Value::as_u64);
    let protocol =
        protocol.and_then(|number| u8::try_from(number).ok()).ok_or_else(|| invalid("protocol"))?;
    let port = |name: &str| match call.parameters.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(port) => {
            port.as_u64().and_then(|port| u16::try_from(port).ok()).map(Some).ok_or_else(|| invalid(name))
        }
    };
    let traffic = Traffic {
        source: end("source")?,
        destination: end("destination")?,
        protocol,
        source_port: port("source_port")?,
        destination_port: port("destination_port")?,
    };
    let is_one_family = traffic.source.0.is_ipv4() == traffic.destination.0.is_ipv4();
    if is_one_family { Ok(traffic) } else { Err(invalid("destination")) }
}

fn flush(call: &Call) -> Result<Flush, Reply> {
    known_only(call, &["what"])?;
    let what = call.parameters.get("what").cloned().unwrap_or_default();
    serde_json::from_value(what).map_err(|_| invalid("what"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(text: &str) -> Result<Request, Reply> {
        understand(&serde_json::from_str(text).unwrap())
    }

    fn error_of(text: &str) -> (String, Value) {
        let reply = understood(text).unwrap_err();
        (reply.error.unwrap_or_default(), reply.parameters)
    }

    #[test]
    fn calls_are_read_with_empty_null_and_absent_parameters() {
        for parameters in ["", r#","parameters":{}"#, r#","parameters":null"#] {
            let call = format!(r#"{{"method":"org.coati.control.Status"{parameters}}}"#);
            assert_eq!(understood(&call), Ok(Request::Status), "{call}");
        }
    }

    #[test]
    fn a_pair_is_two_addresses_of_one_family() {
        let call = |local: &str, remote: &str| {
            let parameters = json!({ "local": local, "remote": remote });
            understand(&Call::new("Initiate", parameters))
        };
        let (local, remote) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!(call("192.0.2.1", "192.0.2.2"), Ok(Request::Initiate(Pair { local, remote })));
        for (local, remote, wrong) in [
            ("192.0.2.1", "2001:db8::1", "remote"),
            ("box1", "192.0.2.2", "local"),
            ("192.0.2.1", "192.0.2.2/32", "remote"),
        ] {
            assert_eq!(call(local, remote), Err(invalid(wrong)));
        }
        let (error, parameters) = error_of(
            r#"{"method":"org.coati.control.Delete","parameters":{"local":"::1","remote":"::2","force":true}}"#,
        );
        assert_eq!(error, "org.varlink.service.InvalidParameter");
        assert_eq!(parameters, json!({ "parameter": "force" }));
    }

    #[test]
    fn the_service_describes_itself() {
        let info = understood(r#"{"method":"org.varlink.service.GetInfo"}"#).unwrap_err();
        assert_eq!(info.error, None);
        assert_eq!(info.parameters["interfaces"], json!(["org.varlink.service", "org.coati.control"]));
        for interface in ["org.varlink.service", "org.coati.control"] {
            let call = json!({
                "method": "org.varlink.service.GetInterfaceDescription",
                "parameters": { "interface": interface },
            });
            let reply = understood(&call.to_string()).unwrap_err();
            let text = reply.parameters["description"].as_str().unwrap();
            assert!(text.contains(&format!("interface {interface}\n")), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (error, parameters) = error_of(r#"{"method":"org.coati.control.Explode"}"#);
        assert_eq!(error, "org.varlink.service.MethodNotFound");
        assert_eq!(parameters, json!({ "method": "org.coati.control.Explode" }));
        let (error, parameters) = error_of(r#"{"method":"io.example.Status"}"#);
        assert_eq!(error, "org.varlink.service.InterfaceNotFound");
        assert_eq!(parameters, json!({ "interface": "io.example" }));
        let (error, _) = error_of(r#"{"method":"Status"}"#);
        assert_eq!(error, "org.varlink.service.InterfaceNotFound");
    }

    #[test]
    fn every_method_of_the_description_is_understood() {
        let methods = DESCRIPTION.lines().filter_map(|line| line.strip_prefix("method "));
        let names: Vec<&str> = methods.filter_map(|line| line.split('(').next()).collect();
        let all = [
            "Status",
            "Reload",
            "Initiate",
            "Reauthenticate",
            "PeerCertificate",
            "Delete",
            "Stop",
            "Leave",
            "Establish",
            "Flush",
            "Watch",
        ];
        assert_eq!(names, all);
        for name in names {
            let parameters = match name {
                "Initiate" | "Reauthenticate" | "PeerCertificate" | "Delete" => {
                    json!({ "local": "::1", "remote": "::2" })
                }
                "Establish" => json!({ "source": "::1", "destination": "::2/64", "protocol": 0 }),
                "Flush" => json!({ "what": "isakmp" }),
                _ => json!({}),
            };
            let call = Call { more: name == "Watch", ..Call::new(name, parameters) };
            assert!(understand(&call).is_ok(), "{name}");
        }
    }

    #[test]
    fn traffic_is_two_networks_of_one_family_and_a_protocol() {
        let call = |source: &str, destination: &str, protocol: u32| {
            let parameters = json!({
                "source": source,
                "destination": destination,
                "protocol": protocol,
                "destination_port": 443,
            });
            understand(&Call::new("Establish", parameters))
        };
        let source = ("10.0.0.0".parse().unwrap(), 24);
        let destination = ("192.0.2.2".parse().unwrap(), 32);
        let traffic =
            Traffic { source, destination, protocol: 6, source_port: None, destination_port: Some(443) };
        assert_eq!(call("10.0.0.0/24", "192.0.2.2", 6), Ok(Request::Establish(traffic)));
        for (source, destination, protocol, wrong) in [
            ("10.0.0.0/33", "192.0.2.2", 0, "source"),
            ("10.0.0.0/24/255", "192.0.2.2", 0, "source"),
            ("10.0.0.1", "2001:db8::1", 0, "destination"),
            ("10.0.0.1", "10.0.0.2", 256, "protocol"),
        ] {
            assert_eq!(call(source, destination, protocol), Err(invalid(wrong)));
        }
    }

    #[test]
    fn what_is_flushed_is_named_and_a_watch_wants_more() {
        let flush = |what: &str| understand(&Call::new("Flush", json!({ "what": what })));
        assert_eq!(flush("ipsec"), Ok(Request::Flush(Flush::Ipsec)));
        assert_eq!(flush("everything"), Err(invalid("what")));
        let (error, _) = error_of(r#"{"method":"org.coati.control.Watch"}"#);
        assert_eq!(error, "org.varlink.service.ExpectedMore");
        assert_eq!(understood(r#"{"method":"org.coati.control.Watch","more":true}"#), Ok(Request::Watch));
    }
}
