using Dmb.Routing;

namespace Dmb.Backends;

/// <summary>A backend's message to its users, a <c>bk_message</c> (docs/protocol.md §6).</summary>
/// <param name="Id">The backend's own message id, as JSON; empty for none.</param>
/// <param name="Key">That id as text, the idempotency key; null for none.</param>
/// <param name="To">The addressed user; null for all.</param>
/// <param name="Data">One JSON value.</param>
internal sealed record BackendMessage(ReadOnlyMemory<byte> Id, string? Key, string? To, ReadOnlyMemory<byte> Data)
{
    /// <summary>Parses it from an object's members.</summary>
    /// <param name="members">The object.</param>
    /// <param name="to">The member with the user's name; null for a message to all.</param>
    /// <param name="code">The <see cref="ErrorCode"/> of a refusal.</param>
    /// <exception cref="RefusedException">A member is missing or has the wrong type.</exception>
    public static BackendMessage Read(JsonMembers members, string? to, string code)
    {
        if (members.Text("type") is not null and not "bk_message")
        {
            throw new RefusedException(code, "The member type says bk_message, or nothing.");
        }

        if (members.Text("id") is var id && id is not null && !Names.IsId(id))
        {
            throw new RefusedException(ErrorCode.BadName, Names.IdForm);
        }

        var user = to is null ? null : members.Text(to);
        if (user is not null && !Names.IsUser(user))
        {
            throw new RefusedException(ErrorCode.BadName, Names.UserForm);
        }

        var data = members.Raw("data");
        return data.IsEmpty
            ? throw new RefusedException(code, "The member data is missing.")
            : new BackendMessage(id is null ? default : members.Raw("id"), id, user, data);
    }
}
