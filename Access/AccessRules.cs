using Dmb.Routing;

namespace Dmb.Access;

/// <summary>Decides which operations a caller may do (docs/access.md), for all routes, frames and transports.</summary>
internal sealed class AccessRules(AccessOptions options, RoutingOptions routing)
{
    /// <summary>The public bus that anonymous callers may join.</summary>
    public const string OpenBus = "public";

    /// <summary>Whether callers have to authenticate.</summary>
    public bool IsOn { get; } = options.HasCredentials;

    /// <summary>The caller of a request or socket without credentials.</summary>
    public Caller Uncredentialed => IsOn ? Caller.Anonymous : Caller.TrustedHost;

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
            Operation.Join => new RefusedException(ErrorCode.ForbiddenRoom, $"{name} is not among your rooms."),
            Operation.ActAsUser => new RefusedException(
                ErrorCode.ForbiddenRoom,
                "A user joins a service under its own name only."
            ),
            _ => new RefusedException(
                ErrorCode.ForbiddenPublish,
                $"This needs the scope {ScopeOf(operation).ToString().ToLowerInvariant()}."
            ),
        };
    }

    /// <summary>Whether a caller may do an operation.</summary>
    public bool May(Caller caller, Operation operation, string name = "") =>
        caller.Scopes.HasFlag(ScopeOf(operation))
        || operation switch
        {
            Operation.Join => name == OpenBus
                || (!caller.IsAnonymous && Array.IndexOf(routing.PublicBuses, name) >= 0)
                || (caller.HasRole(name) && Names.IsNotificationRoom(name)),
            Operation.ActAsUser => caller.IsUser && caller.Name == name,
            _ => false,
        };

    private static Scopes ScopeOf(Operation operation) =>
        operation switch
        {
            Operation.Publish => Scopes.Publish,
            Operation.Register => Scopes.Register,
            Operation.Administer => Scopes.Admin,
            _ => Scopes.Read,
        };
}
