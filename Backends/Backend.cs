using System.Buffers;
using System.Security.Cryptography;
using Dmb.Routing;

namespace Dmb.Backends;

/// <summary>A registered backend service: its id and name.</summary>
internal sealed record Backend(string Bkid, string Name)
{
    /// <summary>The event that carries a message to all users of a backend.</summary>
    public const string Broadcast = "dmb:broadcast";

    /// <summary>The event that carries a message to one user of a backend.</summary>
    public const string Direct = "dmb:direct";

    /// <summary>The event that carries users' messages and presence to a backend.</summary>
    public const string Uplink = "dmb:uplink";

    /// <summary>The event that notifies users that their backend was freed.</summary>
    public const string Disconnected = "dmb:disconnected";

    private const int BkidBytes = 16;
    private static readonly SearchValues<char> Hexadecimal = SearchValues.Create("0123456789abcdef");

    /// <summary>Its place in lists, by name: the name, which has no spaces, and the bkid.</summary>
    public string Cursor => $"{Name} {Bkid}";

    /// <summary>Creates an id: 128 random bits, in hexadecimal.</summary>
    public static string NewBkid() => RandomNumberGenerator.GetHexString(BkidBytes * 2, lowercase: true);

    /// <summary>Whether a text has the form of an id: 32 of 0-9 a-f.</summary>
    public static bool IsBkid(string? text) =>
        text is { Length: BkidBytes * 2 } && !text.AsSpan().ContainsAnyExcept(Hexadecimal);

    /// <summary>The room of all users of a backend. It contains a space, which clients' room names cannot.</summary>
    public static string UsersRoom(string bkid) => "users " + bkid;

    /// <summary>The room of one user's sessions.</summary>
    public static string UserRoom(string bkid, string user) => $"user {bkid} {user}";

    /// <summary>Whether a room is of a backend's users.</summary>
    public static bool IsRoomOf(string bkid, string room) =>
        room == UsersRoom(bkid) || room.StartsWith(UserRoom(bkid, ""), StringComparison.Ordinal);

    /// <summary>The room of a backend's own sockets and streams.</summary>
    public static string UplinkRoom(string bkid) => "uplink " + bkid;

    /// <summary>The refusal of a bkid that is not registered.</summary>
    public static RefusedException Unknown(string? bkid) =>
        new(
            ErrorCode.UnknownBackend,
            $"There is no backend {bkid}: it was never registered, was freed, or has expired."
        );
}

/// <summary>One session of a backend's user.</summary>
/// <param name="bkid">The backend.</param>
/// <param name="user">The user's name: 1 to 200 bytes of UTF-8 without control characters.</param>
/// <param name="subscriber">The session.</param>
internal sealed class BackendUser(string bkid, string user, Subscriber subscriber)
{
    public string Bkid { get; } = bkid;

    public string User { get; } = user;

    public Subscriber Subscriber { get; } = subscriber;

    /// <summary>The rooms of the user.</summary>
    public string[] Rooms { get; } = [Backend.UsersRoom(bkid), Backend.UserRoom(bkid, user)];

    /// <summary>Whether the backend was freed since.</summary>
    public bool IsFreed { get; set; }
}

/// <summary>The result of a backend's message.</summary>
/// <param name="Nodes">Number of nodes with sessions that received it.</param>
/// <param name="IsDuplicate">Whether the backend sent it before; then it was not delivered again.</param>
/// <param name="Outcome">How far it reached the other nodes.</param>
internal readonly record struct Sent(
    int Nodes,
    bool IsDuplicate = false,
    PublishOutcome Outcome = PublishOutcome.Fully
);

/// <summary>A stored uplink.</summary>
/// <param name="Id">The message id.</param>
/// <param name="Json">The uplink's data, as the backend receives it.</param>
internal readonly record struct StoredUplink(string Id, ReadOnlyMemory<byte> Json);
