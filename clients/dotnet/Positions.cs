using System.Globalization;
using System.Text.Json;

namespace Dmb.Client;

/// <summary>
/// Where each room stands, what a resumed one still waits for, and which messages came already (docs/protocol.md §7).
/// Thread-safe.
/// </summary>
/// <param name="known">Where rooms stood before.</param>
/// <param name="tell">Hands on what happens to a room.</param>
/// <param name="isJoined">Whether messages of this room come for itself, not for a pattern alone.</param>
internal sealed class Positions(
    IReadOnlyDictionary<string, string>? known,
    Action<DmbNotice> tell,
    Func<string, bool> isJoined
)
{
    private const int IdsMax = 1000;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, string> _rooms = new(known ?? new Dictionary<string, string>());
    private readonly Dictionary<string, Report> _reports = [];

    // The ids of the last messages, in two generations: the older one is dropped as a whole.
    private HashSet<string> _ids = [];
    private HashSet<string> _older = [];

    public Dictionary<string, string> Copy()
    {
        lock (_lock)
        {
            return new Dictionary<string, string>(_rooms);
        }
    }

    public string? Of(string room)
    {
        lock (_lock)
        {
            return _rooms.GetValueOrDefault(room);
        }
    }

    public void Forget(string room)
    {
        lock (_lock)
        {
            _rooms.Remove(room);
            _reports.Remove(room);
        }
    }

    /// <summary>The connection was lost: what was to come will be asked for again.</summary>
    public void Interrupt()
    {
        lock (_lock)
        {
            _reports.Clear();
        }
    }

    /// <summary>All of them, as <c>Last-Event-ID</c> has them.</summary>
    public string Cursor()
    {
        lock (_lock)
        {
            return string.Join('&', _rooms.Select(one => $"{Uri.EscapeDataString(one.Key)}={one.Value}"));
        }
    }

    /// <summary>
    /// Notes the answer to a subscribe. Behind a position that was known, messages follow and move it; it begins anew
    /// where there was none, or in another epoch.
    /// </summary>
    /// <exception cref="JsonException">It is no such answer.</exception>
    public void Join(JsonElement answer)
    {
        lock (_lock)
        {
            if (answer.Member("positions") is { ValueKind: JsonValueKind.Array } all)
            {
                foreach (var one in all.EnumerateArray())
                {
                    JoinRoom(one);
                }
            }
            else if (answer.Text("pos") is not null)
            {
                JoinRoom(answer);
            }
        }
    }

    /// <summary>Notes a message. False when it came before.</summary>
    /// <exception cref="JsonException">Its positions are none.</exception>
    public bool Take(Frame frame)
    {
        lock (_lock)
        {
            if (frame.Room is { } room)
            {
                var here = Parse(frame.Position);
                foreach (var (_, position) in frame.Also)
                {
                    _ = Parse(position);
                }

                if (isJoined(room))
                {
                    _rooms[room] = frame.Position!;
                }

                Count(room, here, isLast: true);
                foreach (var (other, position) in frame.Also)
                {
                    // A position in another room counts only if all before it came.
                    var there = Parse(position);
                    if (there.IsNextOf(_rooms.GetValueOrDefault(other)))
                    {
                        _rooms[other] = position;
                    }

                    Count(other, there, isLast: false);
                }
            }

            return frame.Id is null || IsNew(frame.Id);
        }
    }

    /// <summary>Notes the id line of an event of a stream. False when it came before.</summary>
    /// <param name="line">A message's id, or positions as in <see cref="Cursor"/>; null: none.</param>
    /// <param name="id">The message's id; null: it has none.</param>
    /// <param name="room">A room whose position moved; null: none did.</param>
    /// <param name="position">Its position.</param>
    /// <exception cref="JsonException">Its positions are none.</exception>
    public bool TakeCursor(string? line, out string? id, out string? room, out string? position)
    {
        (id, room, position) = (null, null, null);
        lock (_lock)
        {
            if (line?.Contains('=') != true)
            {
                id = string.IsNullOrEmpty(line) ? null : line;
                return id is null || IsNew(id);
            }

            foreach (var entry in line.Split('&'))
            {
                var at = entry.LastIndexOf('=');
                var (name, place) = (Uri.UnescapeDataString(entry[..Math.Max(0, at)]), entry[(at + 1)..]);
                _ = Parse(place);
                if (_rooms.GetValueOrDefault(name) != place)
                {
                    _rooms[name] = place;
                    (room, position) = (name, place);
                }
            }

            return true;
        }
    }

    private void JoinRoom(JsonElement answer)
    {
        var room = answer.Text("room") ?? throw new JsonException("A position without a room.");
        var here = Parse(answer.Text("pos"));
        var (epoch, to) = (here.Epoch.ToString(), here.Sequence);
        if (answer.Member("recovered") is not { } recovered)
        {
            _rooms[room] = Text(epoch, to);
            return;
        }

        var isRecovered = recovered.ValueKind == JsonValueKind.True;
        var (why, lost) = (answer.Text("why"), answer.Number("lost"));
        var isReset = why is "epoch" or "future";
        var from = isReset ? 0 : Parse(_rooms.GetValueOrDefault(room) ?? Text(epoch, to)).Sequence;
        if (isReset)
        {
            _rooms[room] = Text(epoch, 0);
        }

        if (!isRecovered)
        {
            tell(new DmbGap(room, lost, why));
        }

        var resumed = new DmbResumed(room, isReset ? null : Math.Max(0, to - from), 0, isRecovered ? 0 : lost, why);
        _reports[room] = new Report(resumed, epoch, to, to - from - (lost ?? 0));
        Judge(room, isComplete: _reports[room].Expected <= 0);
    }

    private void Count(string room, Position position, bool isLast)
    {
        if (!_reports.TryGetValue(room, out var report) || !position.Epoch.SequenceEqual(report.Epoch))
        {
            return;
        }

        if (position.Sequence <= report.To)
        {
            report = report with { Resumed = report.Resumed with { Got = report.Resumed.Got + 1 } };
            _reports[room] = report;
        }

        Judge(room, report.Resumed.Got >= report.Expected || (isLast && position.Sequence >= report.To));
    }

    private void Judge(string room, bool isComplete)
    {
        if (isComplete && _reports.Remove(room, out var report))
        {
            tell(report.Resumed);
        }
    }

    private bool IsNew(string id)
    {
        if (_older.Contains(id) || !_ids.Add(id))
        {
            return false;
        }

        if (_ids.Count > IdsMax)
        {
            (_ids, _older) = (_older, _ids);
            _ids.Clear();
        }

        return true;
    }

    private static Position Parse(string? position)
    {
        var colon = position?.IndexOf(':', StringComparison.Ordinal) ?? -1;
        return
            colon > 0
            && long.TryParse(
                position.AsSpan(colon + 1),
                NumberStyles.None,
                CultureInfo.InvariantCulture,
                out var number
            )
            ? new Position(position!, colon, number)
            : throw new JsonException("A position is <epoch>:<number>.");
    }

    private static string Text(string epoch, long sequence) =>
        string.Create(CultureInfo.InvariantCulture, $"{epoch}:{sequence}");

    /// <summary>A position, read without a copy of its parts.</summary>
    private readonly record struct Position(string Text, int Colon, long Sequence)
    {
        public ReadOnlySpan<char> Epoch => Text.AsSpan(0, Colon);

        /// <summary>Whether it follows directly on another one.</summary>
        public bool IsNextOf(string? other) => other == Positions.Text(Epoch.ToString(), Sequence - 1);
    }

    private sealed record Report(DmbResumed Resumed, string Epoch, long To, long Expected);
}
