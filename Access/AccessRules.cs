using Dmb.Routing;

namespace Dmb.Access;

/// <summary>Decides which operations a caller may do (docs/access.md), for all routes, frames and transports.</summary>
internal sealed class AccessRules(AccessOptions options, RoutingOptions routing, AuthorizeUrl? url = null)
{
    /// <summary>The public bus that anonymous callers may join.</summary>
    public const string OpenBus = "public";

    /// <summary>Whether callers have to authenticate.</summary>
    public bool IsOn { get; } = options.HasCredentials;

    /// <summary>Refuses an anonymous caller.</summary>
    /// <exception cref="RefusedException"><c>unauthenticated</c>.</exception>
    public static void DemandAuthenticated(Caller caller)
    {
        if (caller.IsAnonymous)
        {
            throw new RefusedException(ErrorCode.Unauthenticated, "Show a key or a token.");
        }
    }

    /// <summary>Refuses an operation that a caller may not do.</summary>
    /// <param name="caller">The caller.</param>
    /// <param name="operation">The operation.</param>
    /// <param name="name">
    /// The room to <see cref="Operation.Join"/>, or the user to <see cref="Operation.ActAsUser"/>.
    /// </param>
    /// <exception cref="RefusedException">
    /// <c>unauthenticated</c>, <c>forbidden_room</c> or <c>forbidden_publish</c>.
    /// </exception>
    public void Demand(Caller caller, Operation operation, string name = "")
    {
        if (May(caller, operation, name))
        {
            return;
        }

        DemandAuthenticated(caller);
        throw operation switch
        {
            Operation.Join or Operation.ActAsUser when !caller.IsUser => new RefusedException(
                ErrorCode.ForbiddenRoom,
                NeedsScope(operation)
            ),
            Operation.Join => new RefusedException(ErrorCode.ForbiddenRoom, $"{name} is not among your rooms."),
            Operation.ActAsUser => new RefusedException(
                ErrorCode.ForbiddenRoom,
                "A user joins a service under its own name only."
            ),
            _ => new RefusedException(ErrorCode.ForbiddenPublish, NeedsScope(operation)),
        };
    }

    /// <summary>
    /// Asks <see cref="AuthorizeUrl"/>, where there is one, for the rooms that a user may not join by its roles; those
    /// that it allows are the user's from then on.
    /// </summary>
    public ValueTask AskAsync(Caller caller, IEnumerable<string> rooms) =>
        url is null || !caller.IsUser ? default : new ValueTask(AskAsync(url, caller, rooms));

    /// <summary>Whether a caller may do an operation.</summary>
    public bool May(Caller caller, Operation operation, string name = "") =>
        caller.Scopes.HasFlag(ScopeOf(operation))
        || operation switch
        {
            Operation.Join => MayJoin(caller, name) || caller.IsGranted(name),
            Operation.ActAsUser => caller.IsUser && caller.Name == name,
            _ => false,
        };

    /// <summary>Whether a caller may join a room without asking.</summary>
    private bool MayJoin(Caller caller, string room) =>
        caller.Scopes.HasFlag(Scopes.Read)
        || room == OpenBus
        || (!caller.IsAnonymous && Array.IndexOf(routing.PublicBuses, room) >= 0)
        || (caller.HasRole(room) && (Names.IsNotificationRoom(room) || Names.IsPattern(room)));

    private async Task AskAsync(AuthorizeUrl url, Caller caller, IEnumerable<string> rooms)
    {
        await Task.WhenAll(
            rooms
                .Where(room => Names.IsRoom(room) && !MayJoin(caller, room))
                .Select(async room => caller.Grant(room, await url.MayJoinAsync(caller.Name, room)))
        );
    }

    private static string NeedsScope(Operation operation) =>
        $"This needs the scope {ScopeOf(operation).ToString().ToLowerInvariant()}.";

    private static Scopes ScopeOf(Operation operation) =>
        operation switch
        {
            Operation.Publish => Scopes.Publish,
            Operation.Register => Scopes.Register,
            Operation.Administer => Scopes.Admin,
            _ => Scopes.Read,
        };
}
