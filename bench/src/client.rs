//! One kept-alive HTTP connection, to the product over TCP or to Docker over its socket.

use crate::sign::{self, Key};
use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    pub(crate) async fn tcp(address: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Connection::over(stream, address).await
    }

    pub(crate) async fn unix(path: &Path) -> Result<Connection> {
        Connection::over(UnixStream::connect(path).await?, "docker").await
    }

    async fn over<S>(stream: S, host: &str) -> Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Its end is seen by the next request.
        tokio::spawn(connection);
        Ok(Connection {
            sender,
            host: host.to_owned(),
        })
    }

    /// A plain JSON request; `""` as body sends none.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<(u16, Vec<u8>)> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.host.as_str());
        }
        for (name, value) in headers {
            request = request.header(*name, value.as_str());
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await.context("the connection ended")?;
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body.to_vec()))
    }
}

/// A signing client of the product.
pub(crate) struct Client {
    connection: Connection,
    key: Key,
}

impl Client {
    pub(crate) async fn connect(address: &str, key: &Key) -> Result<Client> {
        let connection = Connection::tcp(address).await?;
        let key = key.clone();
        Ok(Client { connection, key })
    }

    /// An ECS operation.
    pub(crate) async fn ecs(&mut self, operation: &str, body: &Value) -> Result<Value> {
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        self.call(&target, serde_json::to_vec(body)?).await
    }

    /// An operation of Windlass's own.
    pub(crate) async fn own(&mut self, operation: &str, body: Vec<u8>) -> Result<Value> {
        self.call(&format!("Windlass.{operation}"), body).await
    }

    async fn call(&mut self, target: &str, body: Vec<u8>) -> Result<Value> {
        if self.connection.sender.is_closed() {
            // The server closes what is idle for long.
            self.connection = Connection::tcp(&self.connection.host).await?;
        }
        let headers = sign::headers(&self.key, &self.connection.host, target, &body);
        let sent = self.connection.send(Method::POST, "/", &headers, body);
        let (status, body) = sent.await.with_context(|| format!("call {target}"))?;
        if status != 200 {
            bail!("{target}: {status} {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body)?)
    }
}
