using System.Diagnostics;
using System.Net;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Sockets;

/// <summary>
/// Serves the sessions of clients that send as well, from their handshake to their end, whatever their wire format.
/// </summary>
internal sealed partial class SocketSessions(SessionTable sessions, SocketBroker broker)
{
    /// <summary>What the sessions use of the broker.</summary>
    public SocketBroker Broker => broker;

    /// <summary>
    /// Judges a handshake. A caller or an origin that is refused is admitted as well, and told why in the session.
    /// </summary>
    /// <param name="reading">Reads who the caller is.</param>
    /// <param name="isAllowed">Whether the origin of the page that opens the session, if any, is allowed.</param>
    /// <param name="address">The client's address.</param>
    /// <exception cref="RefusedException">There are too many sessions or handshakes, or the node drains.</exception>
    public async ValueTask<AdmittedSession> AdmitAsync(ValueTask<Caller> reading, bool isAllowed, IPAddress? address)
    {
        var lease = sessions.Reserve(address);
        try
        {
            var (caller, refusal) = await ReadCallerAsync(reading);
            if (caller.IsAnonymous)
            {
                broker.Limits.Handshake(address);
            }

            return new AdmittedSession(
                caller,
                isAllowed ? refusal : CloseReason.Origin,
                address,
                lease,
                WebSocketWire.Plain
            );
        }
        catch
        {
            lease.Dispose();
            throw;
        }
    }

    /// <summary>Makes the session of an admitted client.</summary>
    /// <param name="admitted">The admitted session.</param>
    /// <param name="output">Where its frames are written.</param>
    /// <param name="id">Its public name; null for a new one.</param>
    public Session Open(in AdmittedSession admitted, IFrameOutput output, string? id = null) =>
        new(sessions, admitted.Caller, admitted.Wire, output)
        {
            Id = id ?? Guid.NewGuid().ToString("N"),
            Address = admitted.Address,
            Agent = admitted.Agent,
        };

    /// <summary>
    /// Runs an opened session: registers and welcomes it, or closes it if it was admitted to be refused, reads what its
    /// client sends, and removes it when reading has ended and its last frame is out. Then the connection is closed and
    /// the lease disposed.
    /// </summary>
    /// <param name="session">The session, of which nothing has been sent.</param>
    /// <param name="transport">Its client's side.</param>
    /// <param name="admitted">What it was admitted with.</param>
    public async Task RunAsync(Session session, IClientTransport transport, AdmittedSession admitted)
    {
        // A frame of a session is not part of the request that opened it: each message begins a trace of its own.
        Activity.Current = null;
        var client = new SocketClient(session, broker, admitted.Address);
        using (admitted.Lease)
        {
            // The answer leaves together with the first event.
            var mustFlush = admitted.Answer is { } answer && session.Queue(answer);
            if (admitted.Refusal is null && !transport.IsOpenedByClient)
            {
                // Queued before the session is registered, so that nothing precedes it.
                mustFlush |= QueueWelcome(session);
            }

            sessions.Add(session);
            try
            {
                if (admitted.Refusal is not null)
                {
                    session.Close(admitted.Refusal);
                    FlushIf(session, mustFlush);
                }
                else if (!transport.IsOpenedByClient)
                {
                    await JoinOpenBusAsync(session, mustFlush);
                }
                else
                {
                    FlushIf(session, mustFlush);
                    if (!await OpenAsync(session, transport))
                    {
                        return;
                    }
                }

                await transport.ReadAsync(client);
            }
            catch (Exception e)
            {
                LogFailed(sessions.Logger, session.Id, e);
                session.Close(CloseReason.OurFault);
            }
            finally
            {
                await client.EndAsync();
                await sessions.RemoveAsync(session);
                transport.Close();
            }
        }
    }

    private static async ValueTask<(Caller Caller, CloseReason? Refusal)> ReadCallerAsync(ValueTask<Caller> reading)
    {
        try
        {
            return (await reading, null);
        }
        catch (RefusedException refused)
        {
            return (Caller.Anonymous, CloseReason.Of(refused));
        }
    }

    /// <summary>Opens, welcomes and recovers a client that speaks first; false if it doesn't come to that.</summary>
    private async Task<bool> OpenAsync(Session session, IClientTransport transport)
    {
        var opening = await transport.OpenAsync();
        if (!opening.IsOpen)
        {
            return false;
        }

        var mustFlush = opening.MustFlush | QueueWelcome(session);
        if (opening.Recovered is { } recovered)
        {
            FlushIf(session, mustFlush);
            mustFlush = false;
            recovered.SendGaps();
            await recovered.DisposeAsync();
        }

        await JoinOpenBusAsync(session, mustFlush);
        return true;
    }

    private bool QueueWelcome(Session session) =>
        session.Queue(
            "welcome",
            ServerEvents.Welcome(
                session.Id,
                BuildInfo.Version,
                session.Caller.IsAnonymous,
                broker.Options,
                broker.Routing
            )
        );

    /// <summary>Joins the open bus and sends the queued welcome: a client that has read it is in the room.</summary>
    private async Task JoinOpenBusAsync(Session session, bool mustFlush)
    {
        try
        {
            await (await broker.Joins.JoinAsync(session, [AccessRules.OpenBus])).DisposeAsync();
        }
        finally
        {
            FlushIf(session, mustFlush);
        }
    }

    private static void FlushIf(Session session, bool mustFlush)
    {
        if (mustFlush)
        {
            session.Flush();
        }
    }

    [LoggerMessage(4003, LogLevel.Error, "Session {SessionId} failed.")]
    private static partial void LogFailed(ILogger logger, string sessionId, Exception exception);
}
