using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Routing;

/// <summary>Settings of the rooms' histories: how many messages a room keeps, and for how long.</summary>
internal sealed class HistoryOptions
{
    [Description("Messages kept in the history of a room, for those who come back; 0 keeps none.")]
    [Range(0, 10_000)]
    public int HistorySize { get; set; } = 100;

    [Description("How long a message is kept in a room's history; 0 keeps none.")]
    [Range(0, 86_400)]
    public TimeSpan HistoryTtl { get; set; } = TimeSpan.FromMinutes(1);

    [Description(
        "Rooms that keep more or less than that: room=messages or room=messages/seconds, e.g. "
            + "endpoint:*=20/30,traces=0. The first that fits counts."
    )]
    public string[] HistoryRooms { get; set; } = [];

    [Description(
        "Without Redis: bytes that the histories of all rooms may take, for a message in each of its rooms about "
            + "twice its data; the oldest goes first."
    )]
    [Range(1_024, 1_073_741_824)]
    public int HistoryBytes { get; set; } = 67_108_864;

    [Description(
        "How long the count of a quiet room's messages is remembered: a client that was away for longer is told that it "
            + "can't be known what was missed."
    )]
    [Range(60, 315_360_000)]
    public TimeSpan PositionTtl { get; set; } = TimeSpan.FromDays(30);
}
