//! Certificates of a scenario's own, made with OpenSSL or with `coati pki`, and gone with the scenario.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Context, Result};
use crate::process;
use crate::stage::Stage;

/// A kind of key, in OpenSSL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Ed25519.
    Ed25519,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// RSA with a modulus of so many bits.
    Rsa(u16),
}

/// A certificate and its key, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// What a host is given: its own certificate and whom it believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its own certificate and key.
    pub own: Issued,
    /// Certificates between its own and an authority that others know.
    pub chain: Vec<PathBuf>,
    /// The authorities that it believes.
    pub authorities: Vec<PathBuf>,
    /// Lists of what these have revoked.
    pub crls: Vec<PathBuf>,
}

impl Credentials {
    /// Of a host that believes one authority and has its certificate from it.
    pub fn simple(own: Issued, authority: &Path) -> Self {
        Credentials { own, chain: Vec::new(), authorities: vec![authority.to_owned()], crls: Vec::new() }
    }
}

/// An authority made with OpenSSL.
#[derive(Debug, Clone)]
pub struct Authority {
    directory: PathBuf,
    own: Issued,
}

impl Authority {
    /// Makes a root.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn root(stage: &Stage, name: &str, key: Key) -> Result<Self> {
        let directory = stage.pki(name)?;
        let own = make(&directory, name, key, CA, None)?;
        Ok(Authority { directory, own })
    }

    /// Makes an authority below this one.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn intermediate(&self, name: &str, key: Key) -> Result<Self> {
        let own = make(&self.directory, name, key, CA, Some(&self.own))?;
        Ok(Authority { directory: self.directory.clone(), own })
    }

    /// Makes a host's certificate with this address in its subjectAltName.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn issue(&self, name: &str, address: IpAddr, key: Key) -> Result<Issued> {
        let extensions = format!(
            "basicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n\
             subjectAltName = IP:{address}, DNS:{name}.example.org\n"
        );
        make(&self.directory, name, key, &extensions, Some(&self.own))
    }

    /// Makes a host's certificate that expires so many seconds from now, by the clock of the machine.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn issue_short_lived(&self, name: &str, address: IpAddr, key: Key, seconds: u32) -> Result<Issued> {
        let made = self.issue(name, address, key)?;
        let at = |ending: &str| self.directory.join(format!("{name}.short.{ending}"));
        let (request, database, certificate) = (at("csr"), at("index"), at("pem"));
        let configuration = at("cnf");
        let text = format!(
            "[req]\ndistinguished_name = name\n[name]\n[ca]\ndefault_ca = own\n[own]\ndatabase = {}\n\
             new_certs_dir = {}\nserial = {}\npolicy = any\nx509_extensions = extensions\n[any]\norganizationName = optional\n\
             commonName = supplied\n[extensions]\nbasicConstraints = critical, CA:FALSE\n\
             keyUsage = critical, digitalSignature\nsubjectAltName = IP:{address}\n",
            database.display(),
            self.directory.display(),
            at("serial").display()
        );
        for (file, text) in [(&configuration, text.as_str()), (&database, "")] {
            fs::write(file, text).context(|| format!("cannot write {}", file.display()))?;
        }
        let end = process::output(
            Command::new("date")
                .args(["-u", "-d"])
                .args([format!("+{seconds} seconds"), "+%Y%m%d%H%M%SZ".to_owned()]),
        )?;
        let mut ask = Command::new("openssl");
        ask.args(["req", "-new", "-subj"]).arg(format!("/O=Interop/CN={name}")).arg("-config");
        process::output(ask.arg(&configuration).arg("-key").arg(&made.key).arg("-out").arg(&request))?;
        let mut sign = Command::new("openssl");
        sign.args(["ca", "-batch", "-notext", "-create_serial", "-md", "sha256", "-enddate", end.trim()]);
        sign.arg("-config").arg(&configuration).arg("-in").arg(&request).arg("-out").arg(&certificate);
        process::output(sign.arg("-cert").arg(&self.own.certificate).arg("-keyfile").arg(&self.own.key))?;
        Ok(Issued { certificate, key: made.key })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &Path {
        &self.own.certificate
    }
}

const CA: &str = "basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\n\
                  subjectKeyIdentifier = hash\n";

fn make(directory: &Path, name: &str, key: Key, extensions: &str, issuer: Option<&Issued>) -> Result<Issued> {
    let at = |ending: &str| directory.join(format!("{name}.{ending}"));
    let made = Issued { certificate: at("pem"), key: at("key") };
    let bits;
    let kind: &[&str] = match key {
        Key::Ed25519 => &["ED25519"],
        Key::P256 => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        Key::P384 => &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        Key::P521 => &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
        Key::Rsa(length) => {
            bits = format!("rsa_keygen_bits:{length}");
            &["RSA", "-pkeyopt", &bits]
        }
    };
    let openssl = |arguments: &mut dyn FnMut(&mut Command)| {
        let mut command = Command::new("openssl");
        arguments(&mut command);
        process::output(&mut command)
    };
    openssl(&mut |command| {
        command.args(["genpkey", "-algorithm"]).args(kind).arg("-out").arg(&made.key);
    })?;
    let configuration = at("cnf");
    let text =
        format!("[req]\ndistinguished_name = name\nx509_extensions = own\n[name]\n[own]\n{extensions}");
    fs::write(&configuration, text).context(|| format!("cannot write {}", configuration.display()))?;
    openssl(&mut |command| {
        command.args(["req", "-x509", "-new", "-sha384", "-days", "30", "-subj"]);
        command.arg(format!("/O=Interop/CN={name}")).arg("-config").arg(&configuration);
        command.arg("-key").arg(&made.key).arg("-out").arg(&made.certificate);
        if let Some(Issued { certificate, key }) = issuer {
            command.arg("-CA").arg(certificate).arg("-CAkey").arg(key);
        }
    })?;
    Ok(made)
}

/// An authority made with `coati pki`.
#[derive(Debug, Clone)]
pub struct CoatiPki {
    program: PathBuf,
    directory: PathBuf,
}

impl CoatiPki {
    /// Makes one, and an empty CRL.
    ///
    /// # Errors
    /// When the command fails.
    pub fn new(stage: &Stage, name: &str, key: &str) -> Result<Self> {
        Self::named(stage, name, name, key)
    }

    /// The same in a directory that has not its name: another authority may have the name too.
    ///
    /// # Errors
    /// When the command fails.
    pub fn named(stage: &Stage, directory: &str, name: &str, key: &str) -> Result<Self> {
        let directory = stage.pki(directory)?.join("coati");
        let pki = CoatiPki { program: stage.programs.join("coati"), directory };
        pki.run("init", &["--name", name, "--key-type", key])?;
        pki.run("crl", &[])?;
        Ok(pki)
    }

    /// Makes a host's certificate with this address in its subjectAltName.
    ///
    /// # Errors
    /// When the command fails.
    pub fn issue(&self, name: &str, address: IpAddr, key: &str) -> Result<Issued> {
        self.run("issue", &["--key-type", key, &format!("{name}.example.org,{address}")])?;
        Ok(self.issued(name))
    }

    /// Makes a key without a certificate: gives the private and the public half.
    ///
    /// # Errors
    /// When the command fails.
    pub fn raw_key(stage: &Stage, name: &str, key: &str) -> Result<[PathBuf; 2]> {
        let directory = stage.pki("raw")?.join("coati");
        let pki = CoatiPki { program: stage.programs.join("coati"), directory };
        pki.run("key", &["--key-type", key, name])?;
        Ok(["key", "pub"].map(|ending| pki.directory.join(format!("{name}.{ending}"))))
    }

    /// What has been issued under this name.
    pub fn issued(&self, name: &str) -> Issued {
        let at = |ending: &str| self.directory.join(format!("{name}.example.org.{ending}"));
        Issued { certificate: at("pem"), key: at("key") }
    }

    /// Revokes the certificate issued under this name.
    ///
    /// # Errors
    /// When the command fails.
    pub fn revoke(&self, name: &str) -> Result<()> {
        self.run("revoke", &[&format!("{name}.example.org")])
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Its list of revoked certificates.
    pub fn crl(&self) -> PathBuf {
        self.directory.join("ca.crl")
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["pki", verb, "--dir"]).arg(&self.directory).args(arguments);
        process::output(&mut command).map(|_| ())
    }
}
