using System.Diagnostics;
using System.Net;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Sockets;

/// <summary>Runs duplex sessions from handshake to end, independent of their wire format.</summary>
internal sealed partial class SocketSessions(SessionTable sessions, SocketBroker broker)
{
    /// <summary>The broker's services for sessions.</summary>
    public SocketBroker Broker => broker;

    /// <summary>
    /// Admits a handshake. A refused caller or origin is admitted too, and its session closed with the reason.
    /// </summary>
    /// <param name="reading">The caller, being authenticated.</param>
    /// <param name="isAllowed">Whether the origin of the page that opens the session, if any, is allowed.</param>
    /// <param name="address">The client's address.</param>
    /// <exception cref="RefusedException">A limit of sessions or handshakes is reached, or the node drains.</exception>
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

    /// <summary>Creates the session of an admitted client.</summary>
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
    /// Runs a session: registers and welcomes it, or closes it if it has a <see cref="AdmittedSession.Refusal"/>; reads
    /// its client's frames; removes it after its last frame. Then closes the connection and disposes the lease.
    /// </summary>
    /// <param name="session">The session, which has sent nothing yet.</param>
    /// <param name="transport">Its receiving side.</param>
    /// <param name="admitted">The result of its admission.</param>
    public Task RunAsync(Session session, IClientTransport transport, in AdmittedSession admitted)
    {
        // One frame of the queue, so that the answer leaves in one write with the welcome. Queued before the session is
        // registered, so that nothing precedes it.
        var first = admitted.Answer ?? [];
        if (admitted.Refusal is null && !transport.IsOpenedByClient)
        {
            first = [.. first, .. session.Wire.Event("welcome", Welcome(session))];
        }

        var mustFlush = session.Queue(first);
        var client = new SocketClient(session, broker, admitted.Address);
        return ServeAsync(session, transport, client, admitted.Lease, admitted.Refusal, mustFlush);
    }

    private async Task ServeAsync(
        Session session,
        IClientTransport transport,
        SocketClient client,
        IDisposable lease,
        CloseReason? refusal,
        bool mustFlush
    )
    {
        // Frames are not part of the opening request's trace: each message starts its own.
        Activity.Current = null;
        using (lease)
        {
            sessions.Add(session);
            try
            {
                if (refusal is not null)
                {
                    session.Close(refusal);
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
                session.Close(CloseReason.BrokerFailed);
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

    /// <summary>Opens, welcomes and recovers a client that sends first; false if the session did not open.</summary>
    private async Task<bool> OpenAsync(Session session, IClientTransport transport)
    {
        var opening = await transport.OpenAsync();
        if (!opening.IsOpen)
        {
            return false;
        }

        var mustFlush = opening.MustFlush | session.Queue("welcome", Welcome(session));
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

    /// <summary>The data of a session's <c>welcome</c>.</summary>
    private byte[] Welcome(Session session) =>
        ServerEvents.Welcome(session.Id, BuildInfo.Version, session.Caller.IsAnonymous, broker.Options, broker.Routing);

    /// <summary>Joins the open bus, then flushes the welcome: a client that has read it is in the room.</summary>
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
