namespace Dmb.Redis;

/// <summary>
/// One group of rooms: its link, log, histories, subscriptions, receiver and publisher. A room is in one group, and its
/// order is that of its group.
/// </summary>
/// <param name="Number">From 0; the first has all that is no room's too.</param>
/// <param name="Channels">The names of its channels and keys.</param>
/// <param name="Connection">The link in use.</param>
/// <param name="History">Its rooms' histories.</param>
/// <param name="Rooms">Its rooms that have sessions on this node.</param>
/// <param name="Receiver">Processes what is received.</param>
/// <param name="Publisher">Publishes.</param>
internal sealed record RedisGroup(
    int Number,
    RedisChannels Channels,
    RedisConnection Connection,
    RedisHistory History,
    RedisRooms Rooms,
    RedisReceiver Receiver,
    RedisPublisher Publisher
);
