//! What DHCP, ProxyDHCP and TFTP ask and tell.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use overboot_dhcp::Mac;
use overboot_netboot::{BootDecision, Client, Decider, Event, decide};
use overboot_state::BootEvent;
use overboot_wire::Stage;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::app::App;
use crate::boot::admit::{self, Booting};
use crate::http::error::ApiResult;

/// Events that may wait to be written. More come only from somebody who floods us, and are dropped.
const QUEUE: usize = 1024;

/// The fleet, as the boot services see it.
#[derive(Clone, Debug)]
pub(crate) struct FleetDecider {
    app: Arc<App>,
    events: Sender<Event>,
}

impl FleetDecider {
    /// A decider, and what it is told; [`note_events`] takes it from there.
    pub(crate) fn new(app: Arc<App>) -> (Self, Receiver<Event>) {
        let (events, receiver) = channel(QUEUE);
        (Self { app, events }, receiver)
    }
}

impl Decider for FleetDecider {
    fn decide<'a>(
        &'a self,
        client: &'a Client,
    ) -> Pin<Box<dyn Future<Output = BootDecision> + Send + 'a>> {
        Box::pin(async move {
            // Its cards the script's request tells, and nothing that is asked before needs them.
            let booting = Booting { mac: client.mac, cards: &[] };
            let view = match client.boots() {
                true => admit::view(&self.app, booting).await,
                false => Ok(admit::unknown()),
            };
            match view {
                Ok(view) => decide(&self.app.site, client, &view),
                Err(error) => {
                    tracing::error!(%client, error = error.message(), "no boot decision");
                    BootDecision::Ignore { reason: "the fleet's state cannot be read".into() }
                }
            }
        })
    }

    fn observe(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            tracing::warn!("too many boot events at once: one was not noted");
        }
    }
}

/// Writes down what the boot services tell, until they are gone.
pub(crate) async fn note_events(app: Arc<App>, mut events: Receiver<Event>) {
    while let Some(event) = events.recv().await {
        if let Err(error) = note(&app, event).await {
            tracing::warn!(error = error.message(), "a boot event was not noted");
        }
    }
}

async fn note(app: &App, event: Event) -> ApiResult<()> {
    match event {
        Event::Offered { client, address, decision } => {
            tracing::info!(%client, ?address, %decision, "offered");
            let detail = Some(decision.to_string());
            app.saw(client.mac, None, BootEvent::seen(Stage::DhcpOffer, detail)).await
        }
        Event::Leased { mac, address, host_name } => {
            tracing::info!(%mac, %address, host_name, "leased");
            let node = app.state.find_by_identifier(&mac.to_string()).await?;
            let node = node.as_ref().map(|node| &node.id);
            app.state.learn(mac, Some(IpAddr::V4(address)), node, None).await?;
            Ok(())
        }
        Event::Released { mac, address } => {
            tracing::info!(%mac, %address, "released");
            Ok(())
        }
        Event::LoaderSent { peer, mac, file, bytes, took } => {
            tracing::info!(%peer, file, bytes, ?took, "loader sent");
            let Some(mac) = mac_of(app, mac, peer.ip()).await? else { return Ok(()) };
            let mut event = BootEvent::seen(Stage::Loader, Some(file));
            event.bytes = Some(bytes);
            app.saw(mac, None, event).await
        }
        Event::LoaderFailed { peer, mac, file, reason } => {
            tracing::warn!(%peer, file, reason, "loader not sent");
            let Some(mac) = mac_of(app, mac, peer.ip()).await? else { return Ok(()) };
            let mut event = BootEvent::seen(Stage::Loader, Some(file));
            event.error = Some(reason);
            app.saw(mac, None, event).await
        }
    }
}

/// Who has this address: the kernel's table of neighbours knows those beside us, lookups the others.
async fn mac_of(app: &App, neighbour: Option<Mac>, address: IpAddr) -> ApiResult<Option<Mac>> {
    if neighbour.is_some() {
        return Ok(neighbour);
    }
    let lookups = app.state.lookups(&address.to_string()).await?;
    Ok(lookups.first().map(|lookup| lookup.mac_address))
}
