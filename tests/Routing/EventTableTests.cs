using Dmb.Routing;

namespace Dmb.Tests.Routing;

public sealed class EventTableTests
{
    [Fact]
    public void Another_site_has_its_own_events_and_buses()
    {
        var events = new EventTable(
            new RoutingOptions
            {
                PublicBuses = ["lobby"],
                HostBuses = [],
                PrivateBuses = ["alarms"],
                Events = ["fire=alarms", "idle="],
            }
        );

        Assert.Equal([new EventRegistration("fire", "alarms"), new EventRegistration("idle", null)], events.All());
    }

    [Fact]
    public void An_event_is_found_only_by_its_exact_name()
    {
        var events = new EventTable(new RoutingOptions());

        Assert.Equal("calls", events.Find("call")!.DefaultRoom);
        Assert.Null(events.Find("Call"));
        Assert.Null(events.Find(""));
    }

    [Theory]
    [MemberData(nameof(DefaultEvents))]
    public void The_default_table_is_the_contracts(string @event, string bus) =>
        Assert.Equal(bus, new EventTable(new RoutingOptions()).Find(@event)!.DefaultRoom);

    public static TheoryData<string, string> DefaultEvents()
    {
        (string Bus, string Events)[] table =
        [
            ("support", "report_dev report_ops report_csr script_register pipe_blocked"),
            ("calls", "call reference statistics:add"),
            ("traces", "trace"),
            (
                "internal",
                "pong trace_started trace_completed trace_error location:update location:response "
                    + "locations:response presentities:response active_watchers:response registrants:response"
            ),
            ("locations", "location locations registrants presentities active_watchers"),
        ];
        return [.. table.SelectMany(row => row.Events.Split(' ').Select(name => (name, row.Bus)))];
    }
}
