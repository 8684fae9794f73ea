using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>What <see cref="RedisReceiver"/> handles, one after the other, in the order in which it came.</summary>
internal abstract record Inbound;

/// <summary>What was received on a link; left out if the link has a gap before it.</summary>
/// <param name="Link">The link.</param>
/// <param name="Body">What Redis published.</param>
internal abstract record Received(RedisLink Link, byte[] Body) : Inbound;

/// <summary>A message on a room's channel.</summary>
/// <param name="Link">The link.</param>
/// <param name="Room">The room.</param>
/// <param name="Body">The message (<see cref="RedisFormat"/>).</param>
internal sealed record ReceivedMessage(RedisLink Link, string Room, byte[] Body) : Received(Link, Body);

/// <summary>A line on the node's own channel, or on that of all nodes.</summary>
/// <param name="Link">The link.</param>
/// <param name="Body">The line.</param>
internal sealed record ReceivedLine(RedisLink Link, byte[] Body) : Received(Link, Body);

/// <summary>A message that this node could not publish, delivered on this node at once.</summary>
/// <param name="Envelope">The message.</param>
internal sealed record LocalMessage(Envelope Envelope) : Inbound;

/// <summary>
/// A message that this node published shortly before its link was lost, delivered if it was not received.
/// </summary>
/// <param name="Message">The message.</param>
internal sealed record OwnMessage(PendingPublish Message) : Inbound;

/// <summary>From now on received messages wait until the log was read.</summary>
internal sealed record Hold : Inbound;

/// <summary>The log is to be read now.</summary>
/// <param name="Link">The link to read it on.</param>
/// <param name="Done">Completes when all was delivered, or fails with <see cref="RedisUnavailableException"/>.</param>
internal sealed record Recover(RedisLink Link, TaskCompletionSource Done) : Inbound;
