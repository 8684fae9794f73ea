namespace Dmb.Access;

/// <summary>What somebody wants to do: the columns of docs/access.md's table, and the names of the authorization policies.</summary>
internal enum Operation
{
    /// <summary>Get a room's messages, or see how many do.</summary>
    Join,

    /// <summary>Be a user of a backend service.</summary>
    BeUser,

    /// <summary>See the event table and the metrics.</summary>
    Read,

    /// <summary>Publish an event, or send a backend's message.</summary>
    Publish,

    /// <summary>Register an event or a backend service, be that backend, free it.</summary>
    Register,
}
