using FsCheck;
using FsCheck.Fluent;

namespace Dmb.Tests.Routing;

/// <summary>
/// Random publishes, joins and leaves against the simplest model of docs/protocol.md §2 that there is.
/// </summary>
public sealed class RoutingModelTests
{
    private static readonly string[] Rooms = ["support", "calls", "endpoint:1", "endpoint:2", "number:1", "odd room"];
    private static readonly string[] Events = ["report_csr", "call", "no_such_event", "without_bus"];
    private const int Subscribers = 5;

    [Fact]
    public void Each_subscriber_gets_one_copy_of_its_rooms_messages_in_order()
    {
        Prop.ForAll(Steps().ToArbitrary(), steps => RunAsync(steps).GetAwaiter().GetResult())
            .Check(Config.QuickThrowOnFailure.WithMaxTest(500));
    }

    private static async Task<bool> RunAsync(Step[] steps)
    {
        await using var broker = new Broker();
        broker.Events.Register("without_bus", null, out _);
        var subscribers = Enumerable.Range(0, Subscribers).Select(_ => new Collector()).ToArray();
        var joined = subscribers.Select(_ => new HashSet<string>()).ToArray();
        var expected = subscribers.Select(_ => new List<string>()).ToArray();
        foreach (var step in steps)
        {
            switch (step)
            {
                case Join(var who, var room):
                    broker.Rooms.Join(subscribers[who], room, out _);
                    joined[who].Add(room);
                    break;
                case Leave(var who, var room):
                    broker.Rooms.Leave(subscribers[who], room);
                    joined[who].Remove(room);
                    break;
                case LeaveAll(var who):
                    broker.Rooms.LeaveAll(subscribers[who]);
                    joined[who].Clear();
                    break;
                case Publish publish:
                    var published = await broker.NotifyAsync(publish.Event, publish.Json);
                    var targets = publish.Targets();
                    for (var who = 0; who < Subscribers; who++)
                    {
                        if (published.Id is { } id && joined[who].Overlaps(targets))
                        {
                            expected[who].Add(id);
                        }
                    }

                    break;
            }
        }

        return subscribers
                .Index()
                .All(s =>
                    s.Item.Ids.SequenceEqual(expected[s.Index])
                    && s.Item.Memberships.Keys.ToHashSet().SetEquals(joined[s.Index])
                )
            && subscribers.All(s => s.Unflushed == 0)
            && broker.Rooms.Count == joined.SelectMany(rooms => rooms).Distinct().Count();
    }

    private static Gen<Step[]> Steps()
    {
        var who = Gen.Choose(0, Subscribers - 1);
        var room = Gen.Elements(Rooms);
        var join = who.SelectMany(w => room.Select(r => (Step)new Join(w, r)));
        var leave = who.SelectMany(w => room.Select(r => (Step)new Leave(w, r)));
        var publish =
            from name in Gen.Elements(Events)
            from rooms in Gen.SubListOf(Rooms)
            from endpoint in Gen.Elements<string?>(null, "1", "2")
            select (Step)new Publish(name, [.. rooms], endpoint);
        return Gen.Frequency((5, join), (2, leave), (1, who.Select(w => (Step)new LeaveAll(w))), (6, publish))
            .ArrayOf();
    }

    private abstract record Step;

    private sealed record Join(int Who, string Room) : Step;

    private sealed record Leave(int Who, string Room) : Step;

    private sealed record LeaveAll(int Who) : Step;

    private sealed record Publish(string Event, string[] In, string? Endpoint) : Step
    {
        public string Json =>
            $$"""{"_in":[{{string.Join(',', In.Select(r => $"\"{r}\""))}}],"endpoint":{{(Endpoint is null ? "null" : $"\"{Endpoint}\"")}}}""";

        public HashSet<string> Targets()
        {
            HashSet<string> targets = [.. In.Where(r => r.Contains(':', StringComparison.Ordinal))];
            if (Event is "report_csr" or "call")
            {
                targets.Add(Event == "call" ? "calls" : "support");
            }

            if (Endpoint is not null)
            {
                targets.Add("endpoint:" + Endpoint);
            }

            return targets;
        }

        public override string ToString() => $"Publish {Event} {Json}";
    }
}
