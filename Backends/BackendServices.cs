using System.Collections.Concurrent;
using Dmb.Routing;

namespace Dmb.Backends;

/// <summary>
/// Backends and their users (docs/protocol.md §4 and §6), whichever way they come: a backend registers, reaches all its
/// users or one, and hears what they say.
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

    /// <summary>What is said to a backend that comes back with another name.</summary>
    public static RefusedException NotItsName(Backend backend) =>
        new(ErrorCode.ForbiddenPublish, $"The backend {backend.Bkid} has another name than {backend.Name}.");

    /// <summary>Checks who wants to be a backend, and gives it an identity if it brings none.</summary>
    /// <exception cref="RefusedException">The name or the bkid is none.</exception>
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
    /// Registers a backend. One that comes back with its bkid is the same as before, also when the broker had forgotten
    /// it.
    /// </summary>
    /// <exception cref="RefusedException">The name or the bkid is none, or the bkid is another's.</exception>
    public async ValueTask<Backend> RegisterAsync(string? name, string? bkid)
    {
        var backend = Name(name, bkid);
        await _store.RegisterAsync(backend);
        return backend;
    }

    /// <summary>Notes that a backend is used.</summary>
    /// <exception cref="RefusedException">There is no such backend.</exception>
    public ValueTask TouchAsync(string bkid) => _store.TouchAsync(Checked(bkid));

    /// <summary>Frees a backend: all that is stored of it is deleted, and its users are told.</summary>
    /// <exception cref="RefusedException">There is no such backend.</exception>
    public ValueTask FreeAsync(string bkid) => _store.FreeAsync(Checked(bkid));

    /// <summary>Sends a backend's message to all its users, or to one; gives the message id.</summary>
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

    /// <summary>A backend's message on its way to its users.</summary>
    public Envelope Address(string bkid, BackendMessage message) =>
        message.To is { } user
            ? new Envelope(Backend.Direct, MessageId.New(_time), [Backend.UserRoom(bkid, user)], message.Data)
            : new Envelope(Backend.Broadcast, MessageId.New(_time), [Backend.UsersRoom(bkid)], message.Data);

    /// <summary>
    /// Lets a session in as a backend's user, tells the session, and then the backend. What it missed comes when it is
    /// asked for.
    /// </summary>
    /// <param name="user">The user, and the session.</param>
    /// <param name="rooms">
    /// The user's rooms, with what it has seen there, and others that the session joins with them.
    /// </param>
    /// <exception cref="RefusedException">There is no such backend, or what was missed can't be read.</exception>
    public async ValueTask<JoinOperation> ConnectAsync(BackendUser user, IReadOnlyList<RoomRequest> rooms)
    {
        await TouchAsync(user.Bkid);

        // What the backend sends as soon as it hears of the session finds it in its rooms, and comes behind this.
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

    /// <summary>Takes a session out again, and tells the backend.</summary>
    public async ValueTask DisconnectAsync(BackendUser user)
    {
        Leave(user);
        await _store.DisconnectAsync(user);
    }

    /// <summary>Hands a user's message to the backend; gives the message id.</summary>
    /// <exception cref="RefusedException">The backend isn't registered any more.</exception>
    public async ValueTask<string> SendUplinkAsync(BackendUser user, ReadOnlyMemory<byte> data)
    {
        var id = MessageId.New(_time);
        var json = BackendJson.Message(user, id, data.Span, _time.GetUtcNow());
        var uplink = new Envelope(Backend.Uplink, id, [Backend.UplinkRoom(user.Bkid)], json, isKept: true);
        using var publish = MessageSpans.Publish(uplink);
        await _store.SendUplinkAsync(user.Bkid, user.User, uplink);
        return id;
    }

    /// <summary>Tells a backend's socket or stream that it is connected, and lets it hear what its users say.</summary>
    public async ValueTask ListenAsync(Subscriber subscriber, string bkid) =>
        (
            await JoinAsync(subscriber, BackendJson.Connected(bkid), [new RoomRequest(Backend.UplinkRoom(bkid))])
        ).Release();

    /// <summary>The stored uplinks after the one with an id, or from the oldest, the oldest first.</summary>
    /// <exception cref="RefusedException">There is no such backend, or Redis is away.</exception>
    public ValueTask<IReadOnlyList<StoredUplink>> ReadUplinkAsync(string bkid, string? after, int max) =>
        _store.ReadUplinkAsync(Checked(bkid), after, max);

    /// <summary>Puts a session in rooms, and says so before anything that comes from there.</summary>
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

    /// <summary>The same, if it can be a bkid: nothing else may become part of a key or a channel.</summary>
    private static string Checked(string bkid) => Backend.IsBkid(bkid) ? bkid : throw Backend.Unknown(bkid);

    private void OnFreed(string bkid)
    {
        foreach (var user in Users.Where(user => user.Bkid == bkid))
        {
            user.IsFreed = true;
            Leave(user);
            user.Subscriber.Send(Backend.Disconnected, BackendJson.Left(bkid));

            // It counts for nothing any more; also not when the backend comes back.
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
