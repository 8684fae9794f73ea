namespace Dmb.Access;

/// <summary>The operations that <see cref="AccessRules"/> permits (table in docs/access.md).</summary>
internal enum Operation
{
    /// <summary>Join a room, or count its sessions.</summary>
    Join,

    /// <summary>Connect to a backend service as a user.</summary>
    ActAsUser,

    /// <summary>Read the event table and the metrics.</summary>
    Read,

    /// <summary>Publish an event, or send a backend's message.</summary>
    Publish,

    /// <summary>Read and change nodes, rooms, sessions and traces.</summary>
    Administer,

    /// <summary>Register an event or a backend service, act as that backend, free it.</summary>
    Register,
}

/// <summary>Route metadata: the operation that its callers need.</summary>
internal sealed record Requirement(Operation Operation)
{
    /// <summary>Whether the decision depends on a name in the request, so that the route checks it itself.</summary>
    public bool NeedsName => Operation is Operation.Join or Operation.ActAsUser;
}
