using System.Buffers;
using System.Text;

namespace Dmb.Routing;

/// <summary>The forms of names (docs/protocol.md §1).</summary>
internal static class Names
{
    /// <summary>Bytes of UTF-8 that a room's name may have.</summary>
    public const int MaxRoomBytes = 200;

    /// <summary>Characters that an event's name may have.</summary>
    public const int MaxEventLength = 128;

    /// <summary>Characters that a publisher's message id or idempotency key may have.</summary>
    public const int MaxIdLength = 64;

    /// <summary>What an event's name looks like, for people.</summary>
    public const string EventForm =
        "An event's name is 1 to 128 of A-Z a-z 0-9 _ . : -, and begins with a letter, a digit or _.";

    /// <summary>What a room's name looks like, for people.</summary>
    public const string RoomForm = "A room's name is 1 to 200 bytes of UTF-8 without control characters, spaces or *.";

    /// <summary>What a backend's user looks like, for people.</summary>
    public const string UserForm = "A user is 1 to 200 bytes of UTF-8 without control characters.";

    /// <summary>What a message id or idempotency key looks like, for people.</summary>
    public const string IdForm = "A message id or idempotency key is 1 to 64 characters without control characters.";

    private const string Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    private static readonly SearchValues<char> Word = SearchValues.Create(Letters);
    private static readonly SearchValues<char> EventCharacters = SearchValues.Create(Letters + ".:-");

    /// <summary><c>^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$</c></summary>
    public static bool IsEvent(ReadOnlySpan<char> name) =>
        name.Length is > 0 and <= MaxEventLength && Word.Contains(name[0]) && !name.ContainsAnyExcept(EventCharacters);

    /// <summary>
    /// Names that Socket.IO clients use for events of their own: a client 4.x that is sent one drops the connection.
    /// </summary>
    public static bool IsReservedByClients(ReadOnlySpan<char> name) =>
        name is "connect" or "connect_error" or "disconnect" or "disconnecting" or "newListener" or "removeListener";

    /// <summary>A channel without <c>*</c>, which is reserved for subscriptions by pattern.</summary>
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

    /// <summary>
    /// A room of the form <c>type:key</c>: a valid one that matches <c>^\w+:</c> with ASCII's <c>\w</c>.
    /// </summary>
    public static bool IsNotificationRoom(ReadOnlySpan<char> name)
    {
        var colon = name.IndexOf(':');
        return colon > 0 && !name[..colon].ContainsAnyExcept(Word) && IsRoom(name);
    }

    /// <summary>
    /// A message id or idempotency key that a publisher brought: 1 to 64 characters, none a control character.
    /// </summary>
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
