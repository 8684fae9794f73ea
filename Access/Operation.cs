namespace Dmb.Access;

/// <summary>What a caller wants to do: docs/access.md has a table.</summary>
internal enum Operation
{
    /// <summary>Get a room's messages, or see how many do.</summary>
    Join,

    /// <summary>Be a user of a backend service.</summary>
    ActAsUser,

    /// <summary>See the event table and the metrics.</summary>
    Read,

    /// <summary>Publish an event, or send a backend's message.</summary>
    Publish,

    /// <summary>See and change what goes on: nodes, rooms, sessions, traces.</summary>
    Administer,

    /// <summary>Register an event or a backend service, be that backend, free it.</summary>
    Register,
}

/// <summary>What a route's callers need, as its metadata.</summary>
internal sealed record Requirement(Operation Operation)
{
    /// <summary>Whether it depends on a name in the request, so that the route has to ask itself.</summary>
    public bool NeedsName => Operation is Operation.Join or Operation.ActAsUser;
}
