using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>An item that <see cref="RedisReceiver"/> handles, one at a time in order.</summary>
internal abstract record Inbound;

/// <summary>A publish received on a link; dropped if the link has a gap before it.</summary>
/// <param name="Link">The link.</param>
/// <param name="Body">The published bytes.</param>
internal abstract record Received(RedisLink Link, byte[] Body) : Inbound;

/// <summary>A message on a room's channel.</summary>
/// <param name="Link">The link.</param>
/// <param name="Room">The room; null if the message names it.</param>
/// <param name="Body">The message (<see cref="RedisFormat"/>).</param>
internal sealed record ReceivedMessage(RedisLink Link, string? Room, byte[] Body) : Received(Link, Body);

/// <summary>A line on the node's own channel or on that of all nodes.</summary>
/// <param name="Link">The link.</param>
/// <param name="Body">The line.</param>
internal sealed record ReceivedLine(RedisLink Link, byte[] Body) : Received(Link, Body);

/// <summary>A message that this node could not publish, to deliver on this node.</summary>
/// <param name="Envelope">The message.</param>
internal sealed record LocalMessage(Envelope Envelope) : Inbound;

/// <summary>
/// A message that this node published shortly before its link was lost, to deliver if it was not received.
/// </summary>
/// <param name="Message">The message.</param>
internal sealed record OwnMessage(PendingPublish Message) : Inbound;

/// <summary>Holds received messages until the log was read.</summary>
internal sealed record Hold : Inbound;

/// <summary>Reads the log, then delivers the held messages.</summary>
/// <param name="Link">The link to read the log on.</param>
/// <param name="Done">Completes when all was delivered, or fails with <see cref="RedisUnavailableException"/>.</param>
internal sealed record Recover(RedisLink Link, TaskCompletionSource Done) : Inbound;
