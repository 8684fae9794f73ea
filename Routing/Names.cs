using System.Buffers;
using System.Text;

namespace Dmb.Routing;

/// <summary>Validates names (docs/protocol.md §1).</summary>
internal static class Names
{
    /// <summary>Maximum bytes of a room's name in UTF-8.</summary>
    public const int MaxRoomBytes = 200;

    /// <summary>Maximum characters of an event's name.</summary>
    public const int MaxEventLength = 128;

    /// <summary>Maximum characters of a publisher's message id or idempotency key.</summary>
    public const int MaxIdLength = 64;

    /// <summary>Describes the form of an event's name in error texts.</summary>
    public const string EventForm =
        "An event's name is 1 to 128 of A-Z a-z 0-9 _ . : -, and begins with a letter, a digit or _.";

    /// <summary>Describes the form of a room's name in error texts.</summary>
    public const string RoomForm = "A room's name is 1 to 200 bytes of UTF-8 without control characters, spaces or *.";

    /// <summary>Describes the form of what a client can subscribe to in error texts.</summary>
    public const string SubscriptionForm = RoomForm + " A pattern is type:*, with * only behind a colon at its end.";

    /// <summary>Describes the form of a backend's user in error texts.</summary>
    public const string UserForm = "A user is 1 to 200 bytes of UTF-8 without control characters.";

    /// <summary>Describes the form of a message id or idempotency key in error texts.</summary>
    public const string IdForm = "A message id or idempotency key is 1 to 64 characters without control characters.";

    private const string Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    private static readonly SearchValues<char> Word = SearchValues.Create(Letters);
    private static readonly SearchValues<char> EventCharacters = SearchValues.Create(Letters + ".:-");

    /// <summary><c>^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$</c></summary>
    public static bool IsEvent(ReadOnlySpan<char> name) =>
        name.Length is > 0 and <= MaxEventLength && Word.Contains(name[0]) && !name.ContainsAnyExcept(EventCharacters);

    /// <summary>
    /// True for names of Socket.IO clients' own events: a client 4.x that receives one closes the connection.
    /// </summary>
    public static bool IsReservedByClients(ReadOnlySpan<char> name) =>
        name is "connect" or "connect_error" or "disconnect" or "disconnecting" or "newListener" or "removeListener";

    /// <summary>A channel name without <c>*</c>, which is reserved for patterns.</summary>
    public static bool IsRoom(ReadOnlySpan<char> name) => !name.Contains('*') && IsChannel(name);

    /// <summary>1 to 200 bytes of UTF-8 without control characters or spaces.</summary>
    public static bool IsChannel(ReadOnlySpan<char> name)
    {
        if (name.IsEmpty || name.Length > MaxRoomBytes || Encoding.UTF8.GetByteCount(name) > MaxRoomBytes)
        {
            return false;
        }

        foreach (var character in name)
        {
            if (char.IsControl(character) || char.IsWhiteSpace(character))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>1 to 200 bytes of UTF-8 without control characters.</summary>
    public static bool IsUser(ReadOnlySpan<char> user) =>
        user.Length is > 0 and <= MaxRoomBytes && Encoding.UTF8.GetByteCount(user) <= MaxRoomBytes && !HasControl(user);

    /// <summary>A valid room that matches <c>^\w+:</c>, with <c>\w</c> as in ASCII.</summary>
    public static bool IsNotificationRoom(ReadOnlySpan<char> name)
    {
        var colon = name.IndexOf(':');
        return colon > 0 && !name[..colon].ContainsAnyExcept(Word) && IsRoom(name);
    }

    /// <summary>
    /// A pattern of rooms: <c>type:*</c>, or <c>*</c> behind a later colon. It matches all rooms that begin with what
    /// is before its <c>*</c>.
    /// </summary>
    public static bool IsPattern(ReadOnlySpan<char> name) => name is [.., ':', '*'] && IsNotificationRoom(name[..^1]);

    /// <summary>A publisher's message id or idempotency key: 1 to 64 characters without control characters.</summary>
    public static bool IsId(ReadOnlySpan<char> id) => id.Length is > 0 and <= MaxIdLength && !HasControl(id);

    private static bool HasControl(ReadOnlySpan<char> text)
    {
        foreach (var character in text)
        {
            if (char.IsControl(character))
            {
                return true;
            }
        }

        return false;
    }
}
