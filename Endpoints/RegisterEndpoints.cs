using Dmb.Access;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Endpoints;

/// <summary>A registered event.</summary>
/// <param name="Event">Its name.</param>
/// <param name="DefaultRoom">Its default bus, or null.</param>
internal sealed record EventEntry(string Event, string? DefaultRoom);

/// <summary>The result of a registration.</summary>
/// <param name="Ok">True.</param>
/// <param name="Event">Its name.</param>
/// <param name="DefaultRoom">Its default bus, or null.</param>
/// <param name="AlreadyRegistered">Whether it was registered before.</param>
internal sealed record RegisterAnswer(bool Ok, string Event, string? DefaultRoom, bool AlreadyRegistered);

/// <summary>Maps /register: registers, lists and removes events.</summary>
internal static class RegisterEndpoints
{
    public static void MapRegister(this IEndpointRouteBuilder routes)
    {
        var group = routes.MapGroup("/register").WithTags("Events");

        group
            .MapPost("/", RegisterAsync)
            .WithName("registerEvent")
            .WithSummary("Register an event.")
            .WithDescription(
                "From then on the event is delivered. `default_room` names a bus; anything else registers the event "
                    + "without a default room. Registering again replaces the default room."
            )
            .WithMetadata(new RequestExample("""{"event":"place-call","default_room":"calls"}"""))
            .Produces<RegisterAnswer>(StatusCodes.Status201Created)
            .Produces<RegisterAnswer>()
            .ProducesProblems(400, 401, 403, 409, 413)
            .Requires(Operation.Register);

        group
            .MapGet("/", List)
            .WithName("listEvents")
            .WithSummary("List the registered events.")
            .Produces<EventEntry[]>()
            .ProducesProblems(401, 403)
            .Requires(Operation.Read);

        group
            .MapDelete("/{event}", RemoveAsync)
            .WithName("removeEvent")
            .WithSummary("Remove an event.")
            .WithDescription("An event of the default table is reset to its default.")
            .WithMetadata(new RouteExample("event", "report_csr"))
            .Produces(StatusCodes.Status204NoContent)
            .ProducesProblems(401, 403, 404)
            .Requires(Operation.Register);
    }

    private static async Task<IResult> RegisterAsync(
        HttpContext context,
        EventTable events,
        IBackplane backplane,
        Publisher publisher,
        Limits limits,
        RoutingOptions options,
        BrokerTelemetry telemetry
    )
    {
        limits.Publish(context.Caller(), context.Connection.RemoteIpAddress);
        using var body = await RequestBody.ReadAsync(context, options.MaxMessageBytes, telemetry);
        publisher.ReadAddress(body.Json.Span);
        if (RegisterRequest.Read(body.Json.Span, publisher.ReaderOptions) is not { } request)
        {
            throw new RefusedException(ErrorCode.BadJson, "The body is an object with the member event, a string.");
        }

        var registration = events.Register(request.Event, request.DefaultRoom, out var alreadyRegistered);
        await backplane.ShareEventAsync(registration.Event);
        var status = alreadyRegistered ? StatusCodes.Status200OK : StatusCodes.Status201Created;
        return Results.Json(
            new RegisterAnswer(true, registration.Event, registration.DefaultRoom, alreadyRegistered),
            ApiJson.Wire.RegisterAnswer,
            statusCode: status
        );
    }

    private static IResult List(EventTable events) =>
        Results.Json(
            [.. events.All().Select(e => new EventEntry(e.Event, e.DefaultRoom))],
            ApiJson.Wire.EventEntryArray
        );

    private static async Task<IResult> RemoveAsync(
        HttpContext context,
        string @event,
        EventTable events,
        IBackplane backplane,
        Limits limits
    )
    {
        limits.Publish(context.Caller(), context.Connection.RemoteIpAddress);
        if (!events.Remove(@event))
        {
            throw new RefusedException(ErrorCode.UnknownEvent, $"The event {@event} is not registered.");
        }

        await backplane.ShareEventAsync(@event);
        return Results.NoContent();
    }
}
