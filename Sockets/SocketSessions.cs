using System.Diagnostics;
using System.Net;
using System.Net.WebSockets;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>What the handshake of a session said.</summary>
/// <param name="Caller">Whose it is.</param>
/// <param name="Refusal">With what it is closed at once, since a page learns nothing from the answer to a handshake; null to let it in.</param>
/// <param name="Format">How its messages are encoded.</param>
/// <param name="Address">From where it comes.</param>
/// <param name="Place">Its place, given back at its end.</param>
/// <param name="Answer">The answer to the handshake, if it is still to be sent.</param>
internal readonly record struct Opening(Caller Caller, CloseReason? Refusal, WireFormat Format, IPAddress? Address, IDisposable Place, byte[]? Answer = null);

/// <summary>Serves sessions of /ws from the end of their handshake to their own.</summary>
internal sealed partial class SocketSessions(SessionTable sessions, SocketBroker broker)
{
    /// <summary>Lets somebody open a session, if only to be told in it why not.</summary>
    /// <param name="reading">Who that is.</param>
    /// <param name="isAllowed">Whether the page that it comes from, if any, may use the broker.</param>
    /// <param name="address">From where it comes.</param>
    /// <exception cref="RefusedException">There is no place for it, or the node is about to stop.</exception>
    public async ValueTask<Opening> AdmitAsync(ValueTask<Caller> reading, bool isAllowed, IPAddress? address)
    {
        var place = sessions.Reserve(address);
        try
        {
            var (caller, refusal) = await ReadCallerAsync(reading);
            if (caller.IsAnonymous)
            {
                broker.Limits.Handshake(address);
            }

            return new Opening(caller, isAllowed ? refusal : CloseReason.Origin, WireFormat.WebSocket, address, place);
        }
        catch
        {
            place.Dispose();
            throw;
        }
    }

    /// <summary>Serves a session over a socket of its own, and closes that.</summary>
    /// <param name="stream">The socket.</param>
    /// <param name="deflate">What was agreed on about compression; null if there is none.</param>
    /// <param name="opening">What its handshake said.</param>
    public Task ServeAsync(SharedStream stream, WebSocketDeflateOptions? deflate, in Opening opening)
    {
        var own = stream.Socket!;
        var socket = WebSocket.CreateFromStream(stream, new WebSocketCreationOptions
        {
            IsServer = true,
            KeepAliveInterval = Timeout.InfiniteTimeSpan,
            DangerousDeflateOptions = deflate,
        });
        return ServeAsync(stream, socket, () => own.Close(0), opening);
    }

    /// <summary>Serves a session over the server's connection.</summary>
    /// <param name="stream">The connection.</param>
    /// <param name="socket">The server's WebSocket over it.</param>
    /// <param name="abort">What cuts it.</param>
    /// <param name="opening">What its handshake said.</param>
    public Task ServeAsync(SharedStream stream, WebSocket socket, Action abort, in Opening opening)
    {
        var session = new Session(sessions, opening.Caller, stream.Inner, opening.Format, abort, stream.Socket);
        stream.Session = session;
        return ServeAsync(socket, session, stream, new SocketClient(session, broker, opening.Address), opening);
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

    private async Task ServeAsync(WebSocket socket, Session session, SharedStream stream, SocketClient client, Opening opening)
    {
        // What comes on a socket is not part of the request that opened it: each message begins a trace of its own.
        Activity.Current = null;
        using (opening.Place)
        using (socket)
        {
            // It leaves with what is said first.
            var mustFlush = opening.Answer is { } answer && session.Queue(answer);
            if (opening.Refusal is null)
            {
                // Before anybody else knows the session: nothing comes before the welcome.
                session.Queue("welcome", ServerFrames.Welcome(session.Id, Endpoints.Contract.Version, session.Caller.IsAnonymous, broker.Options));
            }

            sessions.Add(session);
            try
            {
                if (opening.Refusal is null)
                {
                    await WelcomeAsync(session);
                }
                else
                {
                    // Let in just far enough that the page can be told why.
                    session.Close(opening.Refusal);
                    if (mustFlush)
                    {
                        session.Flush();
                    }
                }

                await WebSocketTransport.RunAsync(socket, session, client, broker.Options);
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
                stream.CloseSocket();
            }
        }
    }

    /// <summary>Sends the welcome that is queued: whoever has read it is in the room.</summary>
    private async Task WelcomeAsync(Session session)
    {
        try
        {
            var joining = await broker.Joins.JoinAsync(session, [AccessRules.OpenBus]);
            await joining.ReplayAsync();
        }
        finally
        {
            session.Flush();
        }
    }

    [LoggerMessage(4003, LogLevel.Error, "Session {SessionId} failed.")]
    private static partial void LogFailed(ILogger logger, string sessionId, Exception exception);
}
