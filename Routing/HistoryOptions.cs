using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Routing;

/// <summary>Settings of the rooms' histories.</summary>
internal sealed class HistoryOptions
{
    [Description("Messages kept in a room's history for reconnecting clients; 0 keeps none.")]
    [Range(0, 10_000)]
    public int HistorySize { get; set; } = 100;

    [Description("How long a message is kept in a room's history; 0 keeps none.")]
    [Range(0, 86_400)]
    public TimeSpan HistoryTtl { get; set; } = TimeSpan.FromMinutes(1);

    [Description(
        "Overrides per room: room=messages or room=messages/seconds, e.g. endpoint:*=20/30,traces=0. The first match "
            + "applies."
    )]
    public string[] HistoryRooms { get; set; } = [];

    [Description(
        "Without Redis: bytes of the histories of all rooms, about twice a message's data in each of its rooms; the "
            + "oldest message is dropped first."
    )]
    [Range(1_024, 1_073_741_824)]
    public int HistoryBytes { get; set; } = 67_108_864;

    [Description(
        "How long the position of an idle room is kept; a client that was away for longer is told that the number of "
            + "missed messages is unknown."
    )]
    [Range(60, 315_360_000)]
    public TimeSpan PositionTtl { get; set; } = TimeSpan.FromDays(30);
}
