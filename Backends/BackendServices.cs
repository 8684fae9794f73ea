using System.Collections.Concurrent;
using Dmb.Routing;

namespace Dmb.Backends;

/// <summary>
/// Registers backends, connects their users, and passes messages between them (docs/protocol.md §4 and §6), for all
/// transports.
/// </summary>
internal sealed class BackendServices
{
    private readonly ConcurrentDictionary<BackendUser, bool> _users = [];
    private readonly IBackendStore _store;
    private readonly RoomTable _rooms;
    private readonly RoomJoins _joins;
    private readonly TimeProvider _time;
    private readonly Tail _tail;

    public BackendServices(IBackendStore store, RoomTable rooms, RoomJoins joins, TimeProvider time, Tail tail)
    {
        (_store, _rooms, _joins, _time, _tail) = (store, rooms, joins, time, tail);
        store.Freed += OnFreed;
    }

    /// <summary>This node's users.</summary>
    public IEnumerable<BackendUser> Users => _users.Keys;

    /// <summary>The refusal of a registered bkid with another name.</summary>
    public static RefusedException NotItsName(Backend backend) =>
        new(ErrorCode.ForbiddenPublish, $"The backend {backend.Bkid} has another name than {backend.Name}.");

    /// <summary>Validates a backend's name and bkid, and creates the bkid if there is none.</summary>
    /// <exception cref="RefusedException">The name or the bkid is invalid.</exception>
    public static Backend Name(string? name, string? bkid)
    {
        if (name is null || !Names.IsChannel(name))
        {
            throw new RefusedException(
                ErrorCode.BadName,
                "The member name is 1 to 200 bytes of UTF-8 without control characters or spaces."
            );
        }

        return bkid is null || Backend.IsBkid(bkid)
            ? new Backend(bkid ?? Backend.NewBkid(), name)
            : throw new RefusedException(
                ErrorCode.BadName,
                "The member bkid is 32 of 0-9 a-f, as the broker gave it, or null for a new one."
            );
    }

    /// <summary>
    /// Registers a backend. With a bkid it resumes that registration, or recreates it if it has expired.
    /// </summary>
    /// <exception cref="RefusedException">
    /// The name or the bkid is invalid, or the bkid belongs to a backend with another name.
    /// </exception>
    public async ValueTask<Backend> RegisterAsync(string? name, string? bkid)
    {
        var backend = Name(name, bkid);
        await _store.RegisterAsync(backend);
        return backend;
    }

    /// <summary>Renews a backend's registration.</summary>
    /// <exception cref="RefusedException">There is no such backend.</exception>
    public ValueTask TouchAsync(string bkid) => _store.TouchAsync(Checked(bkid));

    /// <summary>Frees a backend: deletes its data, and notifies its users.</summary>
    /// <exception cref="RefusedException">There is no such backend.</exception>
    public ValueTask FreeAsync(string bkid) => _store.FreeAsync(Checked(bkid));

    /// <summary>Sends a backend's message to all its users, or to one; returns the message id.</summary>
    /// <exception cref="RefusedException">There is no such backend.</exception>
    public async ValueTask<(string Id, Sent Sent)> SendAsync(string bkid, BackendMessage message)
    {
        var envelope = Address(Checked(bkid), message);
        using var publish = MessageSpans.Publish(envelope);
        var origin = new Origin(Origin.Backend, bkid, envelope.Event);
        try
        {
            var sent = await _store.SendAsync(bkid, envelope, message.To, message.Key);
            if (_tail.IsOpen)
            {
                _tail.Published(origin, envelope, leftOut: null, sent.IsDuplicate, sent.Outcome);
            }

            return (envelope.Id, sent);
        }
        catch (RefusedException refused)
        {
            refused.Rooms = envelope.Rooms;
            _tail.Refused(origin, refused);
            throw;
        }
    }

    /// <summary>Creates the envelope of a backend's message.</summary>
    public Envelope Address(string bkid, BackendMessage message) =>
        message.To is { } user
            ? new Envelope(Backend.Direct, MessageId.New(_time), [Backend.UserRoom(bkid, user)], message.Data)
            : new Envelope(Backend.Broadcast, MessageId.New(_time), [Backend.UsersRoom(bkid)], message.Data);

    /// <summary>
    /// Connects a session as a backend's user, and notifies the session, then the backend. Disposal of the result
    /// replays missed messages.
    /// </summary>
    /// <param name="user">The user and its session.</param>
    /// <param name="rooms">The user's rooms with its last seen positions, and other rooms to join with them.</param>
    /// <exception cref="RefusedException">There is no such backend, or the history cannot be read.</exception>
    public async ValueTask<JoinOperation> ConnectAsync(BackendUser user, IReadOnlyList<RoomRequest> rooms)
    {
        await TouchAsync(user.Bkid);

        // Joined before the backend is notified: its first messages reach the session, after dmb:connected.
        var join = await JoinAsync(user.Subscriber, BackendJson.Joined(user), rooms);
        _users[user] = true;
        try
        {
            await _store.ConnectAsync(user);
            return join;
        }
        catch (RefusedException)
        {
            Leave(user);
            join.Release();
            user.Subscriber.Send(Backend.Disconnected, BackendJson.Left(user.Bkid));
            throw;
        }
    }

    /// <summary>Disconnects a session, and notifies the backend.</summary>
    public async ValueTask DisconnectAsync(BackendUser user)
    {
        Leave(user);
        await _store.DisconnectAsync(user);
    }

    /// <summary>Sends a user's message to its backend; returns the message id.</summary>
    /// <exception cref="RefusedException">The backend is no longer registered.</exception>
    public async ValueTask<string> SendUplinkAsync(BackendUser user, ReadOnlyMemory<byte> data)
    {
        var id = MessageId.New(_time);
        var json = BackendJson.Message(user, id, data.Span, _time.GetUtcNow());
        var uplink = new Envelope(Backend.Uplink, id, [Backend.UplinkRoom(user.Bkid)], json, isKept: true);
        using var publish = MessageSpans.Publish(uplink);
        await _store.SendUplinkAsync(user.Bkid, user.User, uplink);
        return id;
    }

    /// <summary>Subscribes a backend's session to its uplinks, after <c>dmb:connected</c>.</summary>
    public async ValueTask ListenAsync(Subscriber subscriber, string bkid) =>
        (
            await JoinAsync(subscriber, BackendJson.Connected(bkid), [new RoomRequest(Backend.UplinkRoom(bkid))])
        ).Release();

    /// <summary>Reads the stored uplinks after an id, or from the oldest, in order.</summary>
    /// <exception cref="RefusedException">There is no such backend, or Redis is down.</exception>
    public ValueTask<IReadOnlyList<StoredUplink>> ReadUplinkAsync(string bkid, string? after, int max) =>
        _store.ReadUplinkAsync(Checked(bkid), after, max);

    /// <inheritdoc cref="IBackendStore.ListAsync"/>
    public ValueTask<IReadOnlyList<BackendState>> ListAsync(string prefix, string? after, int max) =>
        _store.ListAsync(prefix, after, max);

    /// <inheritdoc cref="IBackendStore.FindAsync"/>
    public ValueTask<BackendState?> FindAsync(string bkid) => _store.FindAsync(bkid);

    /// <summary>Joins rooms, and sends <c>dmb:connected</c> before any of their messages.</summary>
    private async ValueTask<JoinOperation> JoinAsync(
        Subscriber subscriber,
        byte[] data,
        IReadOnlyList<RoomRequest> rooms
    )
    {
        var join = await _joins.JoinAsync(subscriber, rooms, isHeld: true);
        subscriber.Send("dmb:connected", data);
        return join;
    }

    /// <summary>
    /// Returns a valid bkid and refuses others, so that only valid ones become part of keys and channels.
    /// </summary>
    private static string Checked(string bkid) => Backend.IsBkid(bkid) ? bkid : throw Backend.Unknown(bkid);

    private void OnFreed(string bkid)
    {
        foreach (var user in Users.Where(user => user.Bkid == bkid))
        {
            user.IsFreed = true;
            Leave(user);
            user.Subscriber.Send(Backend.Disconnected, BackendJson.Left(bkid));

            // The session is removed in the store too, so that a recreated backend does not count it.
            _ = _store.DisconnectAsync(user).AsTask();
        }
    }

    private void Leave(BackendUser user)
    {
        _users.TryRemove(user, out _);
        foreach (var room in user.Rooms)
        {
            _rooms.Leave(user.Subscriber, room);
        }
    }
}
