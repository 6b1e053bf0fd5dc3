//! The names of elements, class by class, in the order of the schema.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/fielduri>

/// Elements of every item.
pub(super) const ITEM: &str = "MimeContent ItemId ParentFolderId ItemClass Subject Sensitivity Body Attachments DateTimeReceived \
     Size Categories Importance InReplyTo IsSubmitted IsDraft IsFromMe IsResend IsUnmodified \
     InternetMessageHeaders DateTimeSent DateTimeCreated ResponseObjects ReminderDueBy ReminderIsSet \
     ReminderNextTime ReminderMinutesBeforeStart DisplayCc DisplayTo DisplayBcc HasAttachments \
     ExtendedProperty Culture EffectiveRights LastModifiedName LastModifiedTime IsAssociated \
     WebClientReadFormQueryString WebClientEditFormQueryString ConversationId UniqueBody Flag \
     StoreEntryId InstanceKey NormalizedBody EntityExtractionResult PolicyTag ArchiveTag RetentionDate \
     Preview RightsManagementLicenseData PredictedActionReasons IsClutter BlockStatus HasBlockedImages \
     TextBody IconIndex GroupingAction NextPredictedAction MimeContentUTF8";

/// Of messages, after those of every item.
pub(super) const MESSAGE: &str = "Sender ToRecipients CcRecipients BccRecipients IsReadReceiptRequested IsDeliveryReceiptRequested \
     ConversationIndex ConversationTopic From InternetMessageId IsRead IsResponseRequested References \
     ReplyTo ReceivedBy ReceivedRepresenting ApprovalRequestData VotingInformation ReminderMessageData";

/// Of posts.
pub(super) const POST: &str =
    "ConversationIndex ConversationTopic From InternetMessageId IsRead PostedTime References Sender";

/// Of everything about a meeting that travels as mail, after those of messages.
pub(super) const MEETING: &str = "AssociatedCalendarItemId IsDelegated IsOutOfDate HasBeenProcessed ResponseType UID RecurrenceId \
     DateTimeStamp IsOrganizer";

/// Of meeting requests.
pub(super) const REQUEST: &str = "MeetingRequestType IntendedFreeBusyStatus Start End OriginalStart IsAllDayEvent LegacyFreeBusyStatus \
     Location When IsMeeting IsCancelled IsRecurring MeetingRequestWasSent CalendarItemType \
     MyResponseType Organizer RequiredAttendees OptionalAttendees Resources ConflictingMeetingCount \
     AdjacentMeetingCount ConflictingMeetings AdjacentMeetings Duration TimeZone AppointmentReplyTime \
     AppointmentSequenceNumber AppointmentState Recurrence FirstOccurrence LastOccurrence \
     ModifiedOccurrences DeletedOccurrences MeetingTimeZone StartTimeZone EndTimeZone ConferenceType \
     AllowNewTimeProposal IsOnlineMeeting MeetingWorkspaceUrl NetShowUrl EnhancedLocation \
     ChangeHighlights StartWallClock EndWallClock StartTimeZoneId EndTimeZoneId";

/// Of meeting responses and cancellations.
pub(super) const RESPONSE: &str =
    "Start End Location Recurrence CalendarItemType ProposedStart ProposedEnd EnhancedLocation";

/// Of appointments.
pub(super) const CALENDAR: &str = "UID RecurrenceId DateTimeStamp Start End OriginalStart IsAllDayEvent LegacyFreeBusyStatus Location \
     When IsMeeting IsCancelled IsRecurring MeetingRequestWasSent IsResponseRequested CalendarItemType \
     MyResponseType Organizer RequiredAttendees OptionalAttendees Resources ConflictingMeetingCount \
     AdjacentMeetingCount ConflictingMeetings AdjacentMeetings Duration TimeZone AppointmentReplyTime \
     AppointmentSequenceNumber AppointmentState Recurrence FirstOccurrence LastOccurrence \
     ModifiedOccurrences DeletedOccurrences MeetingTimeZone StartTimeZone EndTimeZone ConferenceType \
     AllowNewTimeProposal IsOnlineMeeting MeetingWorkspaceUrl NetShowUrl EnhancedLocation StartWallClock \
     EndWallClock StartTimeZoneId EndTimeZoneId IntendedFreeBusyStatus JoinOnlineMeetingUrl \
     OnlineMeetingSettings IsOrganizer";

/// Of contacts.
pub(super) const CONTACT: &str = "FileAs FileAsMapping DisplayName GivenName Initials MiddleName Nickname CompleteName CompanyName \
     EmailAddresses PhysicalAddresses PhoneNumbers AssistantName Birthday BusinessHomePage Children \
     Companies ContactSource Department Generation ImAddresses JobTitle Manager Mileage OfficeLocation \
     PostalAddressIndex Profession SpouseName Surname WeddingAnniversary HasPicture PhoneticFullName \
     PhoneticFirstName PhoneticLastName Alias Notes Photo UserSMIMECertificate MSExchangeCertificate \
     DirectoryId ManagerMailbox DirectReports";

/// Of distribution lists.
pub(super) const LIST: &str = "DisplayName FileAs ContactSource Members";

/// Of tasks.
pub(super) const TASK: &str = "ActualWork AssignedTime BillingInformation ChangeCount Companies CompleteDate Contacts \
     DelegationState Delegator DueDate IsAssignmentEditable IsComplete IsRecurring IsTeamTask Mileage \
     Owner PercentComplete Recurrence StartDate Status StatusDescription TotalWork";

/// What is shown only when it is named, even by `AllProperties`.
pub(super) const ON_REQUEST: &str =
    "MimeContent UniqueBody NormalizedBody TextBody Preview BlockStatus MimeContentUTF8";

/// What the shape `Default` shows of it.
pub(super) const MAIL_BY_DEFAULT: &str = "ItemId ParentFolderId ItemClass Subject Sensitivity Body Attachments DateTimeReceived Size \
     Importance IsSubmitted IsDraft IsFromMe IsResend IsUnmodified DateTimeSent DateTimeCreated \
     HasAttachments ToRecipients CcRecipients BccRecipients IsReadReceiptRequested \
     IsDeliveryReceiptRequested From InternetMessageId IsRead Start End Location UID \
     AssociatedCalendarItemId IsDelegated IsOutOfDate HasBeenProcessed ResponseType MeetingRequestType";

/// What the shape `Default` shows of it.
pub(super) const CALENDAR_BY_DEFAULT: &str = "ItemId ParentFolderId ItemClass Subject HasAttachments ReminderIsSet ReminderMinutesBeforeStart \
     Start End LegacyFreeBusyStatus Location CalendarItemType Organizer UID IsAllDayEvent Body \
     Attachments Sensitivity";

/// What the shape `Default` shows of it.
pub(super) const CONTACT_BY_DEFAULT: &str = "ItemId ParentFolderId ItemClass Subject HasAttachments DisplayName FileAs CompanyName EmailAddresses \
     PhoneNumbers PhysicalAddresses ImAddresses JobTitle CompleteName Body Attachments Members";

/// What the shape `Default` shows of it.
pub(super) const TASK_BY_DEFAULT: &str = "ItemId ParentFolderId ItemClass Subject HasAttachments DueDate StartDate PercentComplete Status Body \
     Attachments";

/// What the shape `Default` shows of it.
pub(super) const OTHER_BY_DEFAULT: &str = "ItemId ParentFolderId ItemClass Subject HasAttachments Size Body";

/// Of folders.
pub(super) const FOLDER: &str = "ChildFolderCount DisplayName EffectiveRights FolderClass FolderId \
     ManagedFolderInformation ParentFolderId PermissionSet SearchParameters SharingEffectiveRights TotalCount \
     UnreadCount DistinguishedFolderId PolicyTag ArchiveTag";
