using System.Collections.Concurrent;
using Dmb.Routing;

namespace Dmb.Webhooks;

/// <summary>Holds the registered webhooks known to this node, and finds those of a message.</summary>
internal sealed class WebhookTable
{
    private readonly Lock _writing = new();
    private readonly ConcurrentDictionary<string, Webhook> _all = [];
    private readonly ConcurrentDictionary<string, Webhook[]> _byEvent = [];
    private readonly ConcurrentDictionary<string, Webhook[]> _byRoom = [];
    private readonly ConcurrentDictionary<string, Webhook> _byBackend = [];

    /// <summary>Raised when a webhook was added or removed.</summary>
    public event Action? Changed;

    /// <summary>Number of webhooks.</summary>
    public int Count => _all.Count;

    /// <summary>The webhooks, in no order.</summary>
    public IEnumerable<Webhook> All => _all.Select(entry => entry.Value);

    /// <summary>Whether any webhook has events or rooms.</summary>
    public bool HearsMessages => !_byEvent.IsEmpty || !_byRoom.IsEmpty;

    public Webhook? Find(string id) => _all.GetValueOrDefault(id);

    /// <summary>The webhook of a backend's uplinks, or null.</summary>
    public Webhook? OfBackend(string bkid) => _byBackend.GetValueOrDefault(bkid);

    /// <summary>Adds a webhook, or replaces the one with its id.</summary>
    public void Put(Webhook webhook)
    {
        lock (_writing)
        {
            Take(webhook.Id);
            _all[webhook.Id] = webhook;
            foreach (var name in webhook.Events)
            {
                _byEvent[name] = [.. _byEvent.GetValueOrDefault(name, []), webhook];
            }

            foreach (var room in webhook.Rooms)
            {
                _byRoom[room] = [.. _byRoom.GetValueOrDefault(room, []), webhook];
            }

            if (webhook.Backend is not null)
            {
                _byBackend[webhook.Backend] = webhook;
            }
        }

        Changed?.Invoke();
    }

    /// <summary>Removes a webhook; false if there is none with that id.</summary>
    public bool Remove(string id)
    {
        bool isRemoved;
        lock (_writing)
        {
            isRemoved = Take(id);
        }

        Changed?.Invoke();
        return isRemoved;
    }

    /// <summary>The webhooks of an event or of rooms, each once, with the room.</summary>
    public List<(Webhook Webhook, string? Room)> Match(Envelope envelope)
    {
        var found = new List<(Webhook Webhook, string? Room)>();
        foreach (var room in envelope.Rooms)
        {
            foreach (var webhook in _byRoom.GetValueOrDefault(room, []))
            {
                Add(webhook, room);
            }
        }

        foreach (var webhook in _byEvent.GetValueOrDefault(envelope.Event, []))
        {
            Add(webhook, envelope.Rooms.Length > 0 ? envelope.Rooms[0] : null);
        }

        return found;

        void Add(Webhook webhook, string? room)
        {
            if (!found.Exists(other => other.Webhook.Id == webhook.Id))
            {
                found.Add((webhook, room));
            }
        }
    }

    private bool Take(string id)
    {
        if (!_all.TryRemove(id, out var webhook))
        {
            return false;
        }

        foreach (var name in webhook.Events)
        {
            Take(_byEvent, name, id);
        }

        foreach (var room in webhook.Rooms)
        {
            Take(_byRoom, room, id);
        }

        if (webhook.Backend is { } bkid && _byBackend.GetValueOrDefault(bkid)?.Id == id)
        {
            _byBackend.TryRemove(bkid, out _);
        }

        return true;
    }

    private static void Take(ConcurrentDictionary<string, Webhook[]> index, string name, string id)
    {
        var rest = Array.FindAll(index.GetValueOrDefault(name, []), webhook => webhook.Id != id);
        if (rest.Length > 0)
        {
            index[name] = rest;
        }
        else
        {
            index.TryRemove(name, out _);
        }
    }
}
